"""Videos that stand in for an utterance's own, to measure what a model takes from the lips.

A gated model may have learned to ignore the video, and its error rate alone does not say so. Against its own clip stand
a ``blank`` one (mean grey: a video without information, which is not the same as no video), a ``shuffled`` one
(another utterance's clip: lips that say something else) and a ``wrong_speaker`` one (somebody else's). All are as long
as the clip that they replace.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from avspeech.features.clip import MEAN
from avspeech.manifest import Utterance


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


SIMILAR_LENGTH = 0.1
"""Two clips are of nearly the same length if they differ by no more than this share of the clip to be replaced."""


def other_speakers(utterances: Sequence[Utterance], seed: int) -> dict[str, Utterance]:
    """Return for every id another speaker's utterance, of nearly the same length where there is one.

    Where there is no other speaker (GRID's s1), it is another utterance, as a comparison of the two ``speaker`` fields
    tells. Utterances without a speaker count as one speaker. Every utterance chooses for itself, by hashes of seed and
    ids: one that is added to the test set changes only the choices that fall on it.

    Args:
        utterances: the test set. Lengths are ``num_frames``; one that is unknown is like any other.
        seed: of the choice.

    Raises:
        ValueError: there is no other utterance.
    """
    if len(utterances) < 2:
        raise ValueError(
            f"{len(utterances)} utterances came for videos of a wrong speaker, wanted two or more, so that there are "
            "others; leave 'wrong_speaker' out"
        )
    ids = [utterance.id for utterance in utterances]
    hashes = np.array([_hash(seed, name) for name in ids], np.uint64)
    speakers = np.unique([str(utterance.speaker) for utterance in utterances], return_inverse=True)[1]
    lengths = np.array([utterance.num_frames or np.nan for utterance in utterances])
    chosen: dict[str, Utterance] = {}
    for index, name in enumerate(ids):
        allowed = speakers != speakers[index]
        if not allowed.any():
            allowed = np.arange(len(ids)) != index
        excess = np.abs(lengths - lengths[index]) / lengths[index]
        excess = np.where(np.nan_to_num(excess) <= SIMILAR_LENGTH, 0, excess)
        candidates = np.flatnonzero(allowed & (excess == excess[allowed].min()))
        chosen[name] = utterances[int(candidates[np.argmin(hashes[candidates] ^ hashes[index])])]
    return chosen


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{int(seed)}\x1f{name}".encode()).digest()[:8], "little")


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
