"""Named faults of the picture, applied to mouth crops or to whole videos.

A fault has a kind and a level, written as a label: ``blur-3``, ``drop-50``, ``offset-160``, ``no_face``. Random choices
depend on a text key only, never on the noise: the same key gives the same bytes.

Occlusion, blur, noise and lost frames follow CAV2vec (Kim et al. 2025, arXiv:2504.18539) and AV-RelScore (Hong et al.
2023, arXiv:2303.08536); brightness, JPEG and five severities follow DeeperForensics (Jiang et al. 2020,
arXiv:2001.03024). Unlike these, objects are rendered, and a level sets the share and the duration of the cover.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from avspeech.faults.frame_faults import replay, shown_frames
from avspeech.faults.occlusion import Box, hide_face, plan_occlusion
from avspeech.faults.picture_faults import picture_fault
from avspeech.noise.exact_noise import ExactDraws

MOUTH_BLANK = 107  # grey of a lost frame in a crop: the mean of mouth crops (``features.clip``), normalised to 0
VIDEO_BLANK = 0
MOUTH_PER_PICTURE = 0.4  # crop side per shorter picture side, in face-cropped corpora such as LRS3 (224x224)
_SEVERITIES, _OFFSETS_MS = (1, 2, 3, 4, 5), tuple(range(-160, 161, 40))


class Kind(NamedTuple):
    """Levels (empty for a kind without levels) and meaning of a kind of fault."""

    levels: tuple[float, ...]
    meaning: str


KINDS = {
    "object": Kind(_SEVERITIES, "a mug, microphone, telephone or book before the mouth; more of it, for longer"),
    "hand": Kind(_SEVERITIES, "a hand before the mouth; more of it, for longer"),
    "blur": Kind(_SEVERITIES, "Gaussian blur, 1 to 8 pixels of deviation at 96x96"),
    "pixel_noise": Kind(_SEVERITIES, "Gaussian noise, 8 to 64 grey levels of deviation"),
    "low_resolution": Kind(_SEVERITIES, "a mouth of 48 down to 10 pixels on a side, enlarged again"),
    "jpeg": Kind(_SEVERITIES, "JPEG of quality 40 down to 3"),
    "darker": Kind(_SEVERITIES, "grey levels times 0.7 down to 0.1"),
    "brighter": Kind(_SEVERITIES, "grey levels times 1.2 up to 2.5, cut at white"),
    "drop": Kind((25, 50, 100), "per cent of the frames lost: grey in mouth clips, black in video"),
    "freeze": Kind(_SEVERITIES, "the picture is frozen for 10 to 80 % of the time, 0.2 to 0.8 s at once"),
    "offset": Kind(_OFFSETS_MS, "ms that the picture comes late (+) or early (-); edge frames are held"),
    "wrong_speaker": Kind((), "another speaker's video"),
    "no_face": Kind((), "no video for the model; in raw video the face is covered"),
}


@dataclass(frozen=True)
class Fault:
    """One fault of the picture: a key of ``KINDS``, and severity, per cent or ms (0 for a kind without levels)."""

    kind: str
    level: float = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.level not in (KINDS[self.kind].levels or (0,)):
            raise ValueError(f"visual fault {self.kind!r} came with level {self.level:g}; known are {_known()}")

    @property
    def label(self) -> str:
        """Name of the fault: ``blur-3``, ``offset+80``, ``no_face``."""
        if not KINDS[self.kind].levels:
            return self.kind
        return f"{self.kind}{self.level:+g}" if self.kind == "offset" else f"{self.kind}-{self.level:g}"

    @property
    def changes_pictures(self) -> bool:
        """True if ``degrade_clip`` applies it; ``wrong_speaker`` and ``no_face`` replace the clip."""
        return self.kind not in ("wrong_speaker", "no_face")

    @property
    def is_drawn(self) -> bool:
        """True if the result depends on the key, and so on the seed."""
        return self.kind in ("object", "hand", "pixel_noise", "drop", "freeze") and self != Fault("drop", 100)


def _known() -> str:
    levels = {name: "/".join(f"{level:g}" for level in kind.levels) for name, kind in KINDS.items()}
    levels["offset"] = "160..+160 by 40"
    return ", ".join(f"{name}-{known}" if known else name for name, known in levels.items())


def parse_fault(label: str) -> Fault:
    """Return the fault with this label. ValueError: unknown label; the message lists all kinds and levels."""
    faults = {fault.label: fault for fault in all_faults()}
    if label not in faults:
        raise ValueError(f"visual fault {label!r} is unknown; known are {_known()}")
    return faults[label]


def all_faults() -> list[Fault]:
    """Return every fault, kind by kind, from weak to strong."""
    return [Fault(name, level) for name, kind in KINDS.items() for level in kind.levels or (0,)]


def fault_key(seed: int, utterance_id: str, fault: Fault) -> str:
    """Return the key of an utterance's fault, without its level: levels of a kind differ in severity only."""
    return "\x1f".join([str(int(seed)), utterance_id, fault.kind])


def degrade_clip(mouth_THW: np.ndarray, fault: Fault, key: str) -> np.ndarray:
    """Return a degraded copy of a mouth crop, same shape, uint8; pixel levels scale with the shorter side (96).

    ValueError: the clip is not uint8 (T, H, W) with T of at least 1, or the fault does not change pictures.
    """
    if mouth_THW.ndim != 3 or mouth_THW.dtype != np.uint8 or not mouth_THW.size:
        raise ValueError(
            f"a clip of shape {mouth_THW.shape}, {mouth_THW.dtype} came, wanted uint8 (T, H, W) with a frame or more; "
            "read it with avspeech.media.video.read_grey_clip"
        )
    if not fault.changes_pictures:
        raise ValueError(
            f"visual fault {fault.label!r} came for a clip, wanted one that changes pictures; choose another clip or "
            "none instead (avspeech.evaluation.loading)"
        )
    num_frames, height, width = mouth_THW.shape
    boxes = [(0.0, 0.0, float(width), float(height))] * num_frames
    return np.stack(list(_changed(mouth_THW, fault, key, num_frames, boxes, min(height, width), MOUTH_BLANK)))


def degrade_frames(
    frames: Iterable[np.ndarray],
    fault: Fault,
    key: str,
    num_frames: int,
    mouth_boxes: Sequence[Box | None] | None = None,
    mouth_side: float | None = None,
) -> Iterator[np.ndarray]:
    """Yield the degraded frames of a video, one in memory at a time; read-only, since they may be the input arrays.

    Args:
        frames: uint8 RGB (H, W, 3), or grey (H, W).
        fault: ``no_face`` covers the face; ``wrong_speaker`` raises ValueError.
        key: from ``fault_key``.
        num_frames: number of frames; ValueError if others, or other ``mouth_boxes``, come.
        mouth_boxes: crop area per frame, (x0, y0, x1, y1) in pixels, None: unchanged; for object, hand and no_face.
        mouth_side: crop side in pixels, scales pixel levels; None: the boxes' median or ``MOUTH_PER_PICTURE``.
    """
    if fault.kind == "wrong_speaker":
        raise ValueError("visual fault 'wrong_speaker' came for a video's own frames; read another speaker's file")
    boxes = mouth_boxes or ()
    if fault.kind in ("object", "hand", "no_face") and len(boxes) != num_frames:
        raise ValueError(
            f"visual fault {fault.label!r} of {num_frames} frames came with {len(boxes) or 'no'} mouth boxes, wanted "
            "one a frame; find the face with avspeech.roi first"
        )
    return _changed(_exactly(frames, num_frames), fault, key, num_frames, boxes, mouth_side, VIDEO_BLANK)


def _changed(
    frames: Iterable[np.ndarray],
    fault: Fault,
    key: str,
    num_frames: int,
    boxes: Sequence[Box | None],
    mouth_side: float | None,
    blank: int,
) -> Iterator[np.ndarray]:
    draws = ExactDraws(f"{key}\x1f{fault.kind}")
    if fault.kind in ("drop", "freeze", "offset"):
        yield from replay(frames, shown_frames(fault.kind, fault.level, num_frames, draws), blank)
        return
    if fault.kind == "no_face":
        for frame, box in zip(frames, boxes, strict=True):
            yield frame if box is None else hide_face(frame, box)
        return
    frames = iter(frames)
    first = next(frames)
    frames = itertools.chain([first], frames)
    sides = [((box[2] - box[0]) + (box[3] - box[1])) / 2 for box in boxes if box is not None]
    of_boxes = float(np.median(sides)) if sides else MOUTH_PER_PICTURE * min(first.shape[:2])
    side = of_boxes if mouth_side is None else mouth_side
    if fault.kind in ("object", "hand"):
        occlusion = plan_occlusion(fault.kind, int(fault.level), num_frames, side, draws)
        for index, (frame, box) in enumerate(zip(frames, boxes, strict=True)):
            yield frame if box is None else occlusion.apply(frame, box, index)
    else:
        yield from map(picture_fault(fault.kind, int(fault.level), side, draws), frames)


def _exactly(frames: Iterable[np.ndarray], num_frames: int) -> Iterator[np.ndarray]:
    count = 0
    for count, frame in enumerate(frames, start=1):
        if count > num_frames:
            break
        yield frame
    if count != num_frames:
        came = f"more than {num_frames}" if count > num_frames else f"{count}"
        raise ValueError(f"{came} frames came, wanted num_frames={num_frames}; count the video's frames first")
