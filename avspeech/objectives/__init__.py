"""What training minimises: logits, targets and masks in, loss and accuracy out."""
