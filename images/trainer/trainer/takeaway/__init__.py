"""A version of the model to take along: one folder that runs without labelloop (`make model`)."""
