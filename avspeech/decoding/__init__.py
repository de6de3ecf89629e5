"""A model and its memory -> hypotheses, and the times of their words."""
