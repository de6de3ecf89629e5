"""Clips in tar files of WebDataset's layout, found by an Arrow index of byte offsets, on a disk or behind a URL."""
