"""A model and its memory in, hypotheses out."""
