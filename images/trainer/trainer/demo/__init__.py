"""`make demo`: the whole loop once, with pictures that are made here and a person who is simulated."""
