"""Training losses: logits, targets and masks -> loss and accuracy."""
