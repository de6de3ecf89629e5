"""One condition of an evaluation: modality x noise x SNR x video that is shown.

``video`` is decoded once, clean, because noise does not change it; ``no_face`` is decoded as ``audio``.
"""

from dataclasses import dataclass

from avspeech.faults.visual import Fault, parse_fault
from avspeech.inputs import Modality
from avspeech.noise.plan import CLEAN

MODALITIES: tuple[Modality, ...] = ("audio", "video", "audio+video")
"""In the order of a report."""
OWN, BLANK, SHUFFLED = VIDEO_STREAMS = ("own", "blank", "shuffled")
WRONG_SPEAKER, NO_FACE = "wrong_speaker", "no_face"
NEEDS_SOUND = ("offset", WRONG_SPEAKER, NO_FACE)
"""Faults that do not go with ``video``: they are relative to the audio."""


@dataclass(frozen=True)
class Condition:
    """One cell of the grid: streams of the model, noise in the audio, video shown."""

    modality: str
    noise: str = CLEAN
    """``none`` or ``clean``: no noise."""
    snr_db: float | None = None
    """SNR in dB; None if clean, or if the noise has none (reverberation)."""
    video_stream: str = OWN
    """``own``, ``blank`` (mean grey), ``shuffled`` (another utterance's), or a fault of the own clip (``blur-3``)."""

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"modality {self.modality!r} must be one of {', '.join(MODALITIES)}")
        if self.noise == "clean":  # as labels and YAMLs call it; results.json has ``none``
            object.__setattr__(self, "noise", CLEAN)
        if self.noise == CLEAN and self.snr_db is not None:
            raise ValueError(f"noise {self.noise!r} does not go with snr_db={self.snr_db}: clean speech has no SNR")
        if not goes_with(self.video_stream, self.modality):
            raise ValueError(f"video stream {self.video_stream!r} does not go with modality {self.modality!r}")

    @property
    def is_clean(self) -> bool:
        return self.noise == CLEAN

    @property
    def keeps_audio(self) -> bool:
        return "audio" in self.modality

    @property
    def keeps_video(self) -> bool:
        return "video" in self.modality

    @property
    def fault(self) -> Fault | None:
        return None if self.video_stream in VIDEO_STREAMS else parse_fault(self.video_stream)

    @property
    def is_drawn(self) -> bool:
        fault = self.fault
        return self.video_stream == SHUFFLED if fault is None else fault.kind == WRONG_SPEAKER or fault.is_drawn

    @property
    def label(self) -> str:
        """Name in reports, such as ``audio+video, babble -5 dB, blur-3``; the own clip is not named."""
        seen = f"{self.video_stream} video" if self.video_stream in VIDEO_STREAMS else self.video_stream
        shown = [self.modality, noise_label(self.noise, self.snr_db), *([] if self.video_stream == OWN else [seen])]
        return ", ".join(shown)

    @property
    def file_name(self) -> str:
        return self.label.replace(", ", "_").replace(" ", "_")

    @property
    def decoded_as(self) -> "Condition":
        """The condition that is decoded in its place: ``video`` ignores noise, ``no_face`` is ``audio``."""
        if not self.keeps_audio:
            return Condition(self.modality, video_stream=self.video_stream)
        if self.video_stream == NO_FACE:
            return Condition("audio", self.noise, self.snr_db)
        return self


def goes_with(video_stream: str, modality: str) -> bool:
    """Return True if the modality can have the video stream; ``ValueError`` for an unknown stream."""
    if video_stream in VIDEO_STREAMS:
        return video_stream == OWN or modality == "audio+video"
    fault = parse_fault(video_stream)
    return modality == "audio+video" or (modality == "video" and fault.kind not in NEEDS_SOUND)


def noise_label(noise: str, snr_db: float | None) -> str:
    """Return ``clean``, ``babble -5 dB``, or ``reverb`` if there is no SNR."""
    if snr_db is None:
        return "clean" if noise == CLEAN else noise
    return f"{noise} {snr_db:g} dB"


def with_minus(number: str) -> str:
    """Return a number with the typographic minus sign."""
    return number.replace("-", "\N{MINUS SIGN}")
