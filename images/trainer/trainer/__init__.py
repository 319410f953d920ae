"""The trainer: rounds of snapshot, training, evaluation, gate and promotion, and the pre-labels that follow them."""
