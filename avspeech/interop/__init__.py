"""Official checkpoints -> our models, and back."""
