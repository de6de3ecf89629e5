"""Noise at an SNR from voices, recordings, corpora and rooms: random in training, a frozen plan in tests."""
