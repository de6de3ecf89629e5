"""Load an utterance under a condition as a ``Sample``, without augmentation.

Noise comes from a frozen plan. A fault of the picture is the same in every noise. A clip shown in place of an
utterance's own is as long as it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.evaluation.conditions import BLANK, OWN, SHUFFLED, WRONG_SPEAKER, Condition
from avspeech.evaluation.memo import KeptArrays
from avspeech.faults.visual import degrade_clip, fault_key
from avspeech.features.clip import MEAN
from avspeech.inputs import InputSpec, Sample, make_sample
from avspeech.manifest import ManifestError, Utterance
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_grey_clip
from avspeech.timebase import ACOUSTIC_RATE, Span

SIMILAR_LENGTH = 0.1  # largest difference of similar lengths, as a share of the replaced clip


class Mixer(Protocol):
    """Adds noise to speech, such as ``avspeech.noise.plan.PlanMixer``."""

    def mix(self, audio_S: np.ndarray, utterance_id: str, noise: str, snr_db: float | None) -> np.ndarray: ...


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

    Without another speaker it is another utterance; unknown speakers count as one. Hashes of seed and ids decide, so an
    added utterance changes only the choices that fall on it.
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
        came = f"{len(utterances)} utterances came for {stream!r} videos, which show another utterance's clip"
        raise ValueError(f"{came}; wanted two or more: leave {stream!r} out of video_streams")


def fit_length(clip_THW: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the clip cut to ``num_frames``, or played backwards and forwards until it is as long."""
    period = max(1, 2 * (len(clip_THW) - 1))
    place = np.arange(num_frames) % period
    return clip_THW[np.minimum(place, period - place)]


def blank_clip(clip_THW: np.ndarray) -> np.ndarray:
    """Return a clip of that shape in mean grey, which the model sees as zero."""
    return np.full_like(clip_THW, round(MEAN * 255))


def videos_of(
    utterances: Sequence[Utterance], conditions: Sequence[Condition], seed: int
) -> dict[str, dict[str, Utterance]]:
    """Return the other utterance shown, by video stream and id; ``ValueError``: there is only one utterance."""
    draws = {SHUFFLED: shuffle_clips, WRONG_SPEAKER: other_speakers}
    streams = {condition.video_stream for condition in conditions}
    return {stream: draw(utterances, seed) for stream, draw in draws.items() if stream in streams}


class ConditionLoader:
    """Loads utterances under any condition of a grid.

    ``mixer`` None: all conditions are clean. ``seed``: of the faults of the picture. ``cache_bytes``: bytes of decoded
    streams to keep. ``others``: the utterance whose clip is shown, from ``videos_of``.
    """

    def __init__(
        self,
        mixer: Mixer | None = None,
        seed: int = 0,
        inputs: InputSpec = InputSpec(),
        cache_bytes: int = 1 << 30,
        others: Mapping[str, Mapping[str, Utterance]] | None = None,
    ) -> None:
        self.mixer, self.seed, self.inputs = mixer, seed, inputs
        self._others = others or {}
        self._kept: KeptArrays[np.ndarray] = KeptArrays(cache_bytes)

    def load(self, utterance: Utterance, condition: Condition) -> Sample:
        """Return the sample with the streams that the condition keeps, without units and tokens.

        ``MediaError``: a file is missing or broken, the clip is smaller than the crop, or the audio too long.
        ``PlanError``: speech or noise differ from the plan.
        """
        mouth_THW = self.shown(utterance, condition) if condition.keeps_video else None
        audio_S = self.heard(utterance, condition) if condition.keeps_audio else None
        given = utterance.id, utterance.num_frames, audio_S, mouth_THW
        sample = make_sample(self.inputs, *given, text=utterance.text, language=utterance.language)
        length_s = 0.0 if sample.logmel_AF is None else len(sample.logmel_AF) / ACOUSTIC_RATE
        longest_s = self.inputs.longest_s
        if longest_s is not None and length_s > longest_s:
            assert utterance.audio is not None
            why = f"lasts {length_s:g} s, the model takes at most {longest_s:g} s; cut the clip"
            raise MediaError(utterance.audio, why)
        return sample

    def heard(self, utterance: Utterance, condition: Condition) -> np.ndarray:
        """Return the audio in the condition's noise, (S,) float32; ``MediaError``, ``PlanError`` as in ``load``."""
        assert utterance.audio is not None
        audio_S = self._decoded(utterance.audio, read_audio, span=utterance.span)
        if not len(audio_S):
            raise MediaError(utterance.audio, "has no audio samples")
        if condition.is_clean:
            return audio_S
        assert self.mixer is not None, "ConditionLoader needs a mixer for noise"
        return self.mixer.mix(audio_S, utterance.id, condition.noise, condition.snr_db)

    def shown(self, utterance: Utterance, condition: Condition) -> np.ndarray:
        """Return the clip that the condition shows, (T, H, W) uint8, uncropped and read-only; errors as ``load``."""
        stream, mouth_THW = condition.video_stream, self._mouth(utterance)
        if stream == OWN:
            return mouth_THW
        if stream == BLANK:
            return blank_clip(mouth_THW)
        if stream in (SHUFFLED, WRONG_SPEAKER):
            assert utterance.id in self._others.get(stream, {}), f"ConditionLoader needs ``others`` for {stream}"
            return fit_length(self._mouth(self._others[stream][utterance.id]), len(mouth_THW))
        fault = condition.fault
        assert fault is not None and utterance.mouth is not None
        key = fault_key(self.seed, utterance.id, fault)
        kept_as = f"{fault.label} {utterance.id}"  # utterances of one clip have faults of their own
        return self._kept.get((utterance.mouth, kept_as), lambda: degrade_clip(mouth_THW, fault, key))

    def _mouth(self, utterance: Utterance) -> np.ndarray:
        assert utterance.mouth is not None
        return self._decoded(utterance.mouth, read_grey_clip, self.inputs.clip_size or 1)

    def _decoded(self, path: Path, read: Callable[..., np.ndarray], *args: int, **part: Span | None) -> np.ndarray:
        """Return what ``read`` gives; one file may hold both streams, and more than one utterance."""
        return self._kept.get((path, read.__name__, *part.values()), lambda: read(path, *args, **part))


def check_streams(utterances: Sequence[Utterance], conditions: Sequence[Condition], manifest: Path) -> None:
    """Raise ``ManifestError`` at the first utterance that lacks a file that the conditions need."""
    if len(utterances) < 2 and any(one.video_stream in (SHUFFLED, WRONG_SPEAKER) for one in conditions):
        what = "has one utterance, and video_streams names one that shows another's clip"
        raise ManifestError(f"{manifest} {what}; add utterances or leave it out")
    needed = {
        "mouth": ("video", "run data_prep/extract_rois.py, or leave the video out with --modalities '[audio]'"),
        "audio": ("audio", "or evaluate with --modalities '[video]'"),
    }
    for name, (stream, hint) in needed.items():
        lacking = [utterance.id for utterance in utterances if getattr(utterance, name) is None]
        if lacking and any(stream in condition.modality for condition in conditions):
            raise ManifestError(f"{manifest}: utterance {lacking[0]!r} has no {name!r}, which is needed; {hint}")
