"""Videos that stand in for an utterance's own, to measure what a model takes from the lips.

A gated model may have learned to ignore the video, and its error rate alone does not say so. Against its own clip stand
a ``blank`` one (mean grey: a video without information, which is not the same as no video) and a ``shuffled`` one
(another utterance's clip: lips that say something else). Both are as long as the clip that they replace.
"""

from collections.abc import Sequence

import numpy as np

from avspeech.data.manifest import Utterance
from avspeech.features.clip import MEAN


def shuffle_clips(utterances: Sequence[Utterance], seed: int) -> dict[str, Utterance]:
    """Return for every id another utterance whose clip stands in for its own; each stands in once.

    The ids decide and not their order in the manifest: one random cycle through all of them (Sattolo 1986), so that
    none keeps its own clip.

    Args:
        utterances: the test set.
        seed: of the draw.

    Raises:
        ValueError: there is no other utterance.
    """
    if len(utterances) < 2:
        raise ValueError(
            f"{len(utterances)} utterances came for shuffled videos, wanted two or more, so that there are others; "
            "leave 'shuffled' out of video_streams"
        )
    own = sorted(utterances, key=lambda utterance: utterance.id)
    other, rng = list(own), np.random.default_rng((seed, len(own)))
    for last in range(len(other) - 1, 0, -1):
        place = int(rng.integers(last))  # never ``last`` itself: that is what makes it one cycle
        other[last], other[place] = other[place], other[last]
    return {utterance.id: stand_in for utterance, stand_in in zip(own, other, strict=True)}


def fit_length(clip_THW: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the clip cut to ``num_frames``, or played forwards and backwards in turn until it is as long.

    Playing it again from the start would make the mouth jump, which no lips do.
    """
    period = max(1, 2 * (len(clip_THW) - 1))
    place = np.arange(num_frames) % period
    return clip_THW[np.minimum(place, period - place)]


def blank_clip(clip_THW: np.ndarray) -> np.ndarray:
    """Return a clip of the same shape in the mean grey of mouth crops, which the model sees as zero."""
    return np.full_like(clip_THW, round(MEAN * 255))
