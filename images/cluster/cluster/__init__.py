"""This machine as a node of a Ray cluster: a head's, beside the trainer, or one that has joined."""
