"""`make demo`: the whole loop once, with generated pictures and a simulated person."""
