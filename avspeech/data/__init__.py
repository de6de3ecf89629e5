"""Manifest in, batches (`AVBatch`) out."""
