"""The trainer: rounds of snapshot, training, evaluation, gate and promotion, and pre-labels after them."""
