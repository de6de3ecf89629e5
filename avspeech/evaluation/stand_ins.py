"""Clips shown in place of an utterance's own, to measure what a model takes from the lips.

``blank`` is mean grey, ``shuffled`` another utterance's, ``wrong_speaker`` another speaker's, as long as the own clip.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from avspeech.evaluation.conditions import SHUFFLED, WRONG_SPEAKER
from avspeech.features.clip import MEAN
from avspeech.manifest import Utterance

SIMILAR_LENGTH = 0.1  # largest difference of similar lengths, as a share of the replaced clip


def shuffle_clips(utterances: Sequence[Utterance], seed: int) -> dict[str, Utterance]:
    """Return for every id another utterance to show, each once: one random cycle (Sattolo 1986) of sorted ids."""
    _need_two(utterances, SHUFFLED)
    own = sorted(utterances, key=lambda utterance: utterance.id)
    other, rng = list(own), np.random.default_rng((seed, len(own)))
    for last in range(len(other) - 1, 0, -1):
        place = int(rng.integers(last))  # never ``last`` itself: that is what makes it one cycle
        other[last], other[place] = other[place], other[last]
    return {utterance.id: stand_in for utterance, stand_in in zip(own, other, strict=True)}


def other_speakers(utterances: Sequence[Utterance], seed: int) -> dict[str, Utterance]:
    """Return for every id another speaker's utterance, of similar length (``num_frames``) if there is one.

    Without another speaker (GRID's s1) it is another utterance; unknown speakers count as one. Hashes of seed and ids
    decide, so an added utterance changes only the choices that fall on it. ``ValueError`` below two utterances.
    """
    _need_two(utterances, WRONG_SPEAKER)
    ids = [utterance.id for utterance in utterances]
    digests = (hashlib.sha256(f"{int(seed)}\x1f{name}".encode()).digest() for name in ids)
    hashes = np.array([int.from_bytes(digest[:8], "little") for digest in digests], np.uint64)
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


def fit_length(clip_THW: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the clip cut to ``num_frames``, or played backwards and forwards until it is as long."""
    period = max(1, 2 * (len(clip_THW) - 1))
    place = np.arange(num_frames) % period
    return clip_THW[np.minimum(place, period - place)]


def blank_clip(clip_THW: np.ndarray) -> np.ndarray:
    """Return a clip of that shape in mean grey, which the model sees as zero."""
    return np.full_like(clip_THW, round(MEAN * 255))
