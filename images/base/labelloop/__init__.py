"""The vocabulary that the ML backend and the trainer share."""
