"""Sizes of tiny models that are exported, their random streams, and how far two results are apart."""

import dataclasses

import numpy as np

from tests.models.tiny_whisper import SIZES

REAL_TOKENS = dataclasses.replace(SIZES, vocab_size=51_865, audio_depth=1, text_depth=1)
"""Tiny, but with Whisper's own tokens."""
LIMIT = 1e-4
MODALITIES = [(True, True), (True, False), (False, True)]


def as_arrays(streams):
    return {name: tensor.numpy() for name, tensor in streams.items()}


def largest_share(found, wanted) -> float:
    """Return the largest difference as a share of the largest value."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())
