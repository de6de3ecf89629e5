"""Score the faces of a segment against its sound, and find the offset between sound and picture.

Three ways: ``synchrony`` (our model, in the package), ``correlation`` (``avspeech.roi.speaking``, no model), and LR-ASD
or a retrained synchrony model by the path of its file. Figures: experiments/2026-11-who-speaks.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avspeech.features.mfcc import cepstra
from avspeech.hub.names import open_model
from avspeech.media.sound import Sound, StoredSound
from avspeech.models.files import ModelFileError, load_model
from avspeech.models.lr_asd import LrAsd
from avspeech.models.synchrony import NEAR, WEIGHTS, Synchrony, odds, offset, sound_input
from avspeech.roi.face_crops import read_face_crops
from avspeech.roi.faces import Face, FollowedFaces
from avspeech.roi.lips import FaceSpan
from avspeech.timebase import FRAME_RATE, SAMPLES_PER_FRAME

CORRELATION, SYNCHRONY = "correlation", "synchrony"
PIECE = 6 * FRAME_RATE  # frames that LR-ASD judges at once
SURE, SURE_TO_REPAIR = 2.0, 3.0
"""Leads in log-odds of an offset that is reported, and of one that is repaired. Of 285 offsets of unseen people with a
lead of 2, and of 253 with 3, all were right within a frame."""
LEAST_FIT = -0.08
"""Least log-odds per frame of an offset that is believed: 85 % of real late voices have it with a sure lead, and 8 % of
others' voices, of which 26 % have the lead alone."""
FOREIGN, LONG_ENOUGH = -0.107, 2 * FRAME_RATE
"""Log-odds per frame below which the voice of so many frames is nobody's in view: of 3 s, 66 to 94 % of such voices and
at most 1 % of true faces, but 63 % of true faces in babble at 0 dB, see ``trust.is_clear``."""


@dataclass(frozen=True)
class Offset:
    """Offset between sound and picture of a whole file."""

    frames: int
    """Frames of 40 ms by which the sound is late; below 0 it is early."""
    lead: float
    """Log-odds of this offset over those more than two frames from it."""
    repaired: bool = False
    fit: float = 0.0
    """Log-odds per frame that the lips make the sound, so shifted."""

    @property
    def told(self) -> bool:
        """True if it is worth a note: lips and sound of two frames apart still belong together."""
        return self.repaired or (abs(self.frames) > NEAR and self.lead >= SURE and self.fit >= LEAST_FIT)

    @property
    def is_sure(self) -> bool:
        """True if the sound may be shifted by it."""
        return self.told and self.lead >= SURE_TO_REPAIR

    @property
    def sentence(self) -> str:
        how, away = ("late", self.frames) if self.frames > 0 else ("early", -self.frames)
        fate = "repaired" if self.repaired else "not repaired" if self.is_sure else "too unsure to repair"
        return f"The sound is {away} frames ({40 * away} ms) {how} (lead {self.lead:.1f}): {fate}."

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def load_watcher(name: str) -> Synchrony | LrAsd | None:
    """Return the model of a name or path, None for ``correlation``; ModelFileError if it does not tell who speaks."""
    if name == CORRELATION:
        return None
    model = load_model(WEIGHTS) if name == SYNCHRONY else open_model(name)
    if not isinstance(model, Synchrony | LrAsd):
        raise ModelFileError(
            f"who_speaks={name!r} (--who_speaks) came, a {model.kind}; wanted {SYNCHRONY}, {CORRELATION}, or a file of "
            "LR-ASD or of a synchrony model"
        )
    return model


def score_faces(
    model: Synchrony | LrAsd,
    video: Path,
    followed: FollowedFaces,
    spans: Sequence[FaceSpan],
    mouths: Mapping[int, np.ndarray],
    audio_S: Sound,
) -> dict[FaceSpan, float]:
    """Return how much each face speaks in its span, above 0 if it does.

    ``mouths`` are crops of the whole video by face, ``audio_S`` is its sound.
    """
    if isinstance(model, LrAsd):
        return _judge_whole_faces(model, video, followed, spans, audio_S)
    return {span: float(odds(lag_scores(model, followed, span, mouths[span.face], audio_S))) for span in spans}


@torch.inference_mode()
def lag_scores(
    model: Synchrony, followed: FollowedFaces, span: FaceSpan, mouth_THW: np.ndarray | None, audio_S: Sound
) -> Tensor:
    """Return the log-odds at each lag of the sound, (2 ``MAX_LAG`` + 1,), of a face in a span; None: of its opening."""
    mouth_BTHW = None if mouth_THW is None else torch.from_numpy(mouth_THW[span.first : span.end])[None]
    openness_BT = torch.from_numpy(_openness_in(followed.faces[span.face], span))[None]
    bands_AF, real_U = sound_input(audio_S, span.first, span.end - span.first)
    return model.compare(model.see(mouth_BTHW, openness_BT), model.hear(bands_AF[None]), real_U)[0]


def _openness_in(face: Face, span: FaceSpan) -> np.ndarray:
    return face.openness_T[np.clip(np.arange(span.first, span.end) - face.first, 0, len(face.openness_T) - 1)]


def watch(
    followed: FollowedFaces, spans: Sequence[FaceSpan], mouths: Mapping[int, np.ndarray], audio_S: Sound
) -> tuple[Offset | None, tuple[tuple[int, int], ...]]:
    """Return the offset that all spans of a file have together, and those whose voice seems to be of no face in view.

    None without spans. Arguments as in ``score_faces``; spans of equal frames are faces of one segment.
    """
    model = load_watcher(SYNCHRONY)
    assert isinstance(model, Synchrony)
    scores: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
    for span in spans:
        scores[span.first, span.end].append(lag_scores(model, followed, span, mouths[span.face], audio_S))
    if not scores:
        return None, ()
    total_L = torch.stack([one for faces in scores.values() for one in faces]).sum(dim=0)
    frames = sum((end - first) * len(faces) for (first, end), faces in scores.items())
    found = Offset(*offset(total_L), fit=float(total_L.max()) / frames)
    foreign = [group for group in _judged_together(scores) if is_foreign(group, scores, found)]
    return found, tuple(when for group in foreign for when in group)


def _judged_together(spans: Iterable[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    """Return each span that is long enough to be judged, and the others as one group."""
    long = [[one] for one in spans if one[1] - one[0] >= LONG_ENOUGH]
    return [*long, [one for one in spans if one[1] - one[0] < LONG_ENOUGH]]


def is_foreign(
    spans: Sequence[tuple[int, int]], scores: Mapping[tuple[int, int], Sequence[Tensor]], found: Offset
) -> bool:
    """Return whether the voice of some spans of frames is of none of the faces; False if they are too short together.

    ``scores`` are at each lag, by span of all its faces. An offset that is told moves the sound first: late sound is no
    other's.
    """
    lag = found.frames if found.told else 0
    best = sum(max(float(odds(scores_L.roll(-lag))) for scores_L in scores[span]) for span in spans)
    num_frames = sum(end - first for first, end in spans)
    return num_frames >= LONG_ENOUGH and best < FOREIGN * num_frames


def shift_sound(audio_S: Sound, frames: int) -> Sound:
    """Return the sound ``frames`` earlier (below 0: later), as long as before, zeros where there is none."""
    if isinstance(audio_S, StoredSound):
        return audio_S.earlier(frames * SAMPLES_PER_FRAME)
    num_samples = abs(frames) * SAMPLES_PER_FRAME
    if frames > 0:
        return np.pad(audio_S[num_samples:], (0, min(num_samples, len(audio_S))))
    return np.pad(audio_S, (num_samples, 0))[: len(audio_S)]


@torch.inference_mode()
def _judge_whole_faces(
    model: LrAsd, video: Path, followed: FollowedFaces, spans: Sequence[FaceSpan], audio_S: Sound
) -> dict[FaceSpan, float]:
    """Return LR-ASD's mean score in each span, of pieces of up to 6 s."""
    owner = {}
    for span in spans:
        count = -(-(span.end - span.first) // PIECE)
        edges = np.linspace(span.first, span.end, count + 1).round().astype(int).tolist()
        owner |= {FaceSpan(span.face, *edge): span for edge in pairwise(edges)}
    sums: dict[FaceSpan, float] = defaultdict(float)
    for piece, face_THW in read_face_crops(video, followed.faces, list(owner)):
        heard_S = np.ascontiguousarray(audio_S[slice(*(at * SAMPLES_PER_FRAME for at in (piece.first, piece.end + 1)))])
        heard_S = heard_S if len(heard_S) else np.zeros(1, np.float32)
        mfcc_AF = cepstra(torch.from_numpy(heard_S), len(face_THW))
        sums[owner[piece]] += float(model(torch.from_numpy(face_THW)[None], mfcc_AF[None]).sum())
    return {span: total / (span.end - span.first) for span, total in sums.items()}
