"""A manifest in, batches (`AVBatch`) out."""
