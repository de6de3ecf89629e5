"""Noise at an SNR: drawn in training, frozen in a plan for a test; from voices, recordings, corpora and rooms."""
