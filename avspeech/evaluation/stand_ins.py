"""Clips shown in place of an utterance's own, to measure what a model takes from the lips.

A gated model may have learned to ignore the video, and its error rate alone does not show it. The clip is ``blank``
(mean grey: a video without information, which differs from no video), ``shuffled`` (another utterance's) or of a
``wrong_speaker``. It is as long as the clip that it replaces.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from avspeech.evaluation.conditions import SHUFFLED, WRONG_SPEAKER
from avspeech.features.clip import MEAN
from avspeech.manifest import Utterance


def shuffle_clips(utterances: Sequence[Utterance], seed: int) -> dict[str, Utterance]:
    """Return for every id another utterance whose clip is shown; each clip is shown once.

    One random cycle through all ids (Sattolo 1986), so none keeps its own clip. Their order in the manifest does not
    matter.

    Raises:
        ValueError: there are fewer than two utterances.
    """
    _need_two(utterances, SHUFFLED)
    own = sorted(utterances, key=lambda utterance: utterance.id)
    other, rng = list(own), np.random.default_rng((seed, len(own)))
    for last in range(len(other) - 1, 0, -1):
        place = int(rng.integers(last))  # never ``last`` itself: that is what makes it one cycle
        other[last], other[place] = other[place], other[last]
    return {utterance.id: stand_in for utterance, stand_in in zip(own, other, strict=True)}


SIMILAR_LENGTH = 0.1
"""Largest difference of two clips of nearly the same length, as a share of the clip to be replaced."""


def other_speakers(utterances: Sequence[Utterance], seed: int) -> dict[str, Utterance]:
    """Return for every id another speaker's utterance, of nearly the same length where there is one.

    Where there is no other speaker (GRID's s1), it is another utterance of the same one. Utterances without a speaker
    count as one speaker. Each choice follows from hashes of seed and ids, so an utterance that is added to the test
    set changes only the choices that fall on it.

    Args:
        utterances: the test set. Lengths are ``num_frames``; an unknown one is like any other.
        seed: seed of the choice.

    Raises:
        ValueError: there are fewer than two utterances.
    """
    _need_two(utterances, WRONG_SPEAKER)
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


def _need_two(utterances: Sequence[Utterance], stream: str) -> None:
    if len(utterances) < 2:
        raise ValueError(
            f"{len(utterances)} utterances came for {stream!r} videos, which show another utterance's clip; wanted two "
            f"or more: leave {stream!r} out of video_streams"
        )


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{int(seed)}\x1f{name}".encode()).digest()[:8], "little")


def fit_length(clip_THW: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the clip cut to ``num_frames``, or played forwards and backwards in turn until it is as long."""
    period = max(1, 2 * (len(clip_THW) - 1))
    place = np.arange(num_frames) % period
    return clip_THW[np.minimum(place, period - place)]


def blank_clip(clip_THW: np.ndarray) -> np.ndarray:
    """Return a clip of the same shape in the mean grey of mouth crops, which is zero to the model."""
    return np.full_like(clip_THW, round(MEAN * 255))
