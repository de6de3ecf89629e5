"""Somebody else's checkpoint in, our model with those weights out, and back."""
