"""Draw a transcript on its video: face, mouth crop and the words as they are spoken."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import cv2
import numpy as np

from avspeech.files import written_whole
from avspeech.media.errors import MediaError, NoVideo
from avspeech.media.reading import read_pictures
from avspeech.media.sound import Sound
from avspeech.media.video import fit, inner_box, write_video
from avspeech.roi.faces import Face
from avspeech.roi.mouth import STABLE
from avspeech.roi.track import FrameStatus
from avspeech.timebase import FRAME_RATE
from avspeech.transcription.captions import captions
from avspeech.transcription.face_choice import known_frames
from avspeech.transcription.lettering import Lettering, Patch
from avspeech.transcription.result import Segment, Transcript
from avspeech.transcription.streams import Streams

MAX_HEIGHT, MAX_WIDTH, MIN_HEIGHT = 720, 1920, 576
"""Size limits in pixels. Small videos are enlarged, so that captions and crops do not hide the face."""
COLOURS = {FrameStatus.MEASURED: (80, 220, 120), FrameStatus.INTERPOLATED: (255, 190, 60)}
"""Colours of a face's box by status."""
MISSING_COLOUR, LIP_COLOUR = (150, 150, 150), (255, 110, 130)
"""Colours of a mouth crop's border without a face, and of the lips' outline."""
_BITS = 3  # OpenCV coordinates are in 1/8 pixel
_UPPER_LIP, _LOWER_LIP = slice(len(STABLE), len(STABLE) + 11), slice(len(STABLE) + 11, len(STABLE) + 20)
"""Outer lip points in ``Face.points_TN2``, from the right corner of the mouth."""


@dataclass(frozen=True)
class FaceView:
    """One speaker in every frame; the face may change between segments."""

    box_T4: np.ndarray  # float32, left, top, right, bottom in pixels of ``read_frames``; NaN without a face
    lips_TK2: np.ndarray  # float32, closed lip outline in the same pixels; NaN without a face
    status_T: np.ndarray  # uint8, ``FrameStatus`` of each frame
    mouths: Mapping[int, np.ndarray] = field(default_factory=dict)  # ``mouth_HW`` of each lip-read frame
    speaker: str | None = None  # label, with several faces


def face_views(faces: Sequence[Face], segments: Sequence[Segment], num_frames: int) -> tuple[FaceView, ...]:
    """Return a view of each speaker, sorted by label; the face stays until the next segment."""
    views = []
    for speaker in sorted({one.speaker or "" for one in segments if one.face is not None}):
        own = sorted((one for one in segments if (one.speaker or "") == speaker), key=lambda one: one.start_s)
        box_T4 = np.full((num_frames, 4), np.nan, np.float32)
        lips_TK2 = np.full((num_frames, 20, 2), np.nan, np.float32)
        status_T = np.full(num_frames, FrameStatus.MISSING, np.uint8)
        starts = [0, *(one.frames[0] for one in own[1:]), num_frames]
        for one, (start, end) in zip(own, pairwise(starts), strict=True):
            if one.face is None:
                continue
            face = faces[one.face]
            inside = known_frames(face, start, end)
            points_TN2 = face.points_TN2[inside - face.first]
            box_T4[inside], status_T[inside] = face.boxes_T4[inside - face.first], face.status_T[inside - face.first]
            lips_TK2[inside] = np.concatenate([points_TN2[:, _UPPER_LIP], points_TN2[:, _LOWER_LIP][:, ::-1]], axis=1)
        read = [enumerate(one.mouth_THW, one.frames[0]) for one in own if one.mouth_THW is not None]
        mouths = dict(chain.from_iterable(read))
        views.append(FaceView(box_T4, lips_TK2, status_T, mouths, speaker or None))
    return tuple(views)


def write_preview(out_path: str | Path, transcript: Transcript, streams: Streams) -> int:
    """Write the preview of a transcribed file; see ``draw_preview``."""
    faces = face_views(streams.faces, streams.segments, streams.num_frames)
    return draw_preview(streams.source, out_path, transcript, faces, streams.audio_S)


def draw_preview(
    video: str | Path,
    out_path: str | Path,
    transcript: Transcript,
    faces: Sequence[FaceView] = (),
    audio_S: Sound | None = None,
) -> int:
    """Write the preview at 25 fps, at most 720 pixels high; return its number of frames. One is in memory at a time.

    Args:
        out_path: an .mp4; an existing file is replaced, when the new one is complete.
        faces: empty: the preview shows "no face", unless only sound was used.
        audio_S: 16 kHz; None: no sound.

    Raises ValueError for a bad ``out_path``, NoVideo, MediaError (unreadable, or not the video of ``faces``), OSError.
    """
    video, out_path = Path(video), Path(out_path)
    check_preview(out_path, video)
    try:
        with written_whole(out_path) as unfinished:
            frames = _drawn(video, transcript, faces)
            return write_video(unfinished, frames, audio_S, crf=23, preset="superfast")
    except NoVideo as error:
        raise NoVideo(video, "has no video track to draw a preview on; leave --preview out for sound files") from error


def check_preview(out_path: Path, video: Path) -> None:
    """Raise ValueError if a preview must not have this name."""
    if out_path.suffix.lower() != ".mp4":
        raise ValueError(f"--preview {out_path} must end in .mp4")
    if out_path.exists() and video.exists() and out_path.samefile(video):
        raise ValueError(f"--preview {out_path} would replace the video itself; give another name")


def _drawn(video: Path, transcript: Transcript, faces: Sequence[FaceView]) -> Iterator[np.ndarray]:
    painter, shown, scaled = None, None, np.empty(0)
    num_known = min((len(face.status_T) for face in faces), default=None)  # more than frames where sound is longer
    for index, picture in enumerate(read_pictures(video, [])):  # damage is in the transcript's notes
        if num_known is not None and index >= num_known:
            raise MediaError(video, f"has more than the {num_known} frames in which faces were found; did it change?")
        if picture is not shown:  # a repeated frame is the same object
            frame_HWC, shown = picture.colour(), picture
            painter = painter or _Painter(frame_HWC.shape[:2], transcript, faces)
            scaled = painter.scale(frame_HWC)
        assert painter is not None
        yield painter.paint(scaled.copy(), index)


class _Painter:
    def __init__(self, size: tuple[int, ...], transcript: Transcript, faces: Sequence[FaceView]) -> None:
        height, width = size
        scale = min(MAX_HEIGHT / height, MAX_WIDTH / width, max(1.0, MIN_HEIGHT / height))
        self.width, self.height = (max(16, 2 * round(length * scale / 2)) for length in (width, height))
        self.scale_2, self.shift_2 = np.array([self.width / width, self.height / height]), np.zeros(2)
        self.size = width, height
        self.faces, self.thickness, self.transcript = faces, max(1, self.height // 300), transcript
        self.segments = sorted(transcript.segments, key=lambda one: one.start_s)
        self.waiting, self.active = deque(captions(transcript)), []
        texts = [face.speaker or "" for face in faces] + [one.text for one in self.segments]
        text = "".join(sorted(set("".join([*texts, "no face", "audio only", "video only"]))))
        letter_size = max(10, min(self.height // 20, self.width // 24))
        self.captions = Lettering(text, int(0.94 * self.width), letter_size)
        labels = Lettering(text, self.width // 2, max(10, letter_size * 2 // 3), self.captions.font)
        self.label = cache(labels.label)
        self.caption: tuple[object, Patch] | None = None  # cached, because it changes rarely
        self.inset, self.inset_right = self._place_insets()

    def _place_insets(self) -> tuple[int, bool]:
        """Return the side of the mouth crops, and True if they go to the top right, away from the faces."""
        crops = [next(iter(face.mouths.values())) for face in self.faces if face.mouths]
        if not crops:
            return 0, True
        room = min(int(0.4 * self.height), int(0.9 * self.width) // (2 * len(crops)))
        centres_T = np.concatenate([face.box_T4[:, [0, 2]].mean(axis=1) for face in self.faces]) * self.scale_2[0]
        centres_M = centres_T[np.isfinite(centres_T)]
        right = not len(centres_M) or float(np.median(centres_M)) <= self.width / 2
        return max(2, min(2 * len(crops[0]), room)), right

    def scale(self, frame_HWC: np.ndarray) -> np.ndarray:
        """Return the picture at the preview's size; points are from here on in the pixels of this picture."""
        size, outer = frame_HWC.shape[1::-1], (self.width, self.height)
        left, top, right, bottom = (0, 0, *outer) if size == self.size else inner_box(size, outer)
        self.scale_2, self.shift_2 = np.array([right - left, bottom - top]) / size, np.array([left, top])
        if size != self.size:
            return fit(frame_HWC, outer)
        # For smaller factors interpolation is as good and faster.
        how = cv2.INTER_AREA if 2 * self.width <= frame_HWC.shape[1] else cv2.INTER_LINEAR
        return cv2.resize(frame_HWC, outer, interpolation=how)

    def paint(self, frame_HWC: np.ndarray, index: int) -> np.ndarray:
        time_s = (index + 0.5) / FRAME_RATE
        for face in self.faces:
            self._draw_face(frame_HWC, face, index)
        self._draw_insets(frame_HWC, index)
        self._draw_status(frame_HWC, index, time_s)
        self._draw_caption(frame_HWC, time_s)
        return frame_HWC

    def _points(self, points_K2: np.ndarray) -> np.ndarray:
        """Return OpenCV coordinates; their origin is the centre of the first pixel."""
        return np.round((points_K2 * self.scale_2 + self.shift_2 - 0.5) * 2**_BITS).astype(np.int32)

    def _draw_face(self, frame_HWC: np.ndarray, face: FaceView, index: int) -> None:
        if face.status_T[index] == FrameStatus.MISSING:
            return
        colour = COLOURS[FrameStatus(int(face.status_T[index]))]
        corner_22 = self._points(face.box_T4[index].reshape(2, 2))
        first, last = corner_22.tolist()
        cv2.rectangle(frame_HWC, first, last, colour, self.thickness, cv2.LINE_AA, _BITS)
        outline_K2 = self._points(face.lips_TK2[index])
        cv2.polylines(frame_HWC, [outline_K2], True, LIP_COLOUR, self.thickness, cv2.LINE_AA, _BITS)
        if face.speaker is not None:
            patch = self.label(face.speaker)
            patch.lay_over(frame_HWC, first[0] >> _BITS, (first[1] >> _BITS) - patch.size[1])

    def _draw_insets(self, frame_HWC: np.ndarray, index: int) -> None:
        """Draw the mouth crops side by side, framed in the colour of the face's status."""
        border, side = 2 * self.thickness, self.inset
        step = side + 2 * border
        at = self.width - step - border if self.inset_right else border
        for face in self.faces:
            if not face.mouths or at < 0 or at + step > self.width:  # more faces than there is room for
                continue
            if (seen_HW := face.mouths.get(index)) is not None:
                crop_HW = cv2.resize(seen_HW, (side, side), interpolation=cv2.INTER_LINEAR)
                colour = COLOURS.get(FrameStatus(int(face.status_T[index])), MISSING_COLOUR)
                frame_HWC[border : border + step, at : at + step] = colour
                frame_HWC[2 * border : 2 * border + side, at + border : at + border + side] = crop_HW[..., None]
            at += -step if self.inset_right else step

    def _draw_status(self, frame_HWC: np.ndarray, index: int, time_s: float) -> None:
        found = [face.status_T[index] != FrameStatus.MISSING for face in self.faces]
        looked = bool(found) or self.transcript.face_share is not None
        status = ["no face"] if looked and not any(found) else []
        used = {one.modality for one in self.segments if one.start_s <= time_s < one.end_s}
        status += [f"{stream} only" for stream in ("audio", "video") if used == {stream}]
        if status:
            patch, margin = self.label(", ".join(status)), self.thickness * 4
            to_right = self.faces and not self.inset_right
            patch.lay_over(frame_HWC, self.width - patch.size[0] - margin if to_right else margin, margin)

    def _draw_caption(self, frame_HWC: np.ndarray, time_s: float) -> None:
        while self.waiting and self.waiting[0].start_s <= time_s:
            self.active.append(self.waiting.popleft())
        self.active = [cue for cue in self.active if time_s < cue.end_s]
        if not self.active:
            return
        words = [word for cue in self.active for line in cue.lines for word in line]
        key = (tuple(self.active), [word.start_s <= time_s < word.end_s for word in words])
        if self.caption is None or self.caption[0] != key:
            self.caption = (key, self.captions.cues(self.active, time_s))
        patch = self.caption[1]
        left, top = (self.width - patch.size[0]) // 2, self.height - patch.size[1] - self.height // 24
        patch.lay_over(frame_HWC, left, top)
