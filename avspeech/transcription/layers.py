"""Features of any encoder layer for a whole file."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch

from avspeech.inputs import collate, make_sample
from avspeech.models.files import Model
from avspeech.models.whisper_encoder import POSITIONS_PER_SECOND
from avspeech.timebase import FRAME_RATE
from avspeech.transcription.streams import Streams

Part = Literal["audio", "video", "fused"]
LONGEST_S = 30.0  # longest piece in seconds that is encoded at once; longer files are cut in pauses


@dataclass(frozen=True)
class Features:
    """Features of one file from one encoder layer."""

    values_TD: np.ndarray  # float32, one row per step within the pieces
    times_T: np.ndarray  # float64, start of each row in seconds
    rate: int  # rows per second within a piece
    layer: int | None  # None: the end of the encoder
    part: Part  # ``fused`` (AV-HuBERT), ``audio`` (Whisper) or ``video`` (lip encoder of a Whisper)


def encoder_part(network: Model, part: Part | None) -> Part:
    """Return the encoder, by default the model's first; ValueError if the model lacks it."""
    has: tuple[Part, ...] = ("audio", "video") if network.inputs.audio == "logmel" else ("fused",)
    if network.lip_encoder is None:
        has = has[:1]
    if part is not None and part not in has:
        raise ValueError(f"part={part!r} came for a {type(network).__name__}; it has {', '.join(has)}")
    return part or has[0]


@torch.no_grad()
def layer_features(network: Model, streams: Streams, layer: int | None, part: Part) -> Features:
    """Return the features of all segments, which the encoder takes whole; layer 1 is the first block, 0 its input.

    Raises ValueError if there is no such layer, or the file lacks the part's stream.
    """
    device = next(network.parameters()).device
    encoder: Any = network.encoder if part == "audio" else network.lip_encoder
    inputs = replace(network.inputs, pads_to_30s=False) if part == "audio" else encoder.inputs
    rows, times, rate = [], [], POSITIONS_PER_SECOND if part == "audio" else FRAME_RATE
    for segment in streams.segments:
        audio_S = None if part == "video" else streams.sound(segment)
        mouth_THW = None if part == "audio" else segment.mouth_THW
        if audio_S is None and mouth_THW is None:
            continue
        batch = collate([make_sample(inputs, "", segment.num_frames, audio_S, mouth_THW)]).to(device)
        if part == "audio":
            values_TD = encoder(batch.logmel_BAF, layer=layer)[0]
        else:
            values_TD = encoder(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, layer=layer)[0]
        rows.append(values_TD.float().cpu().numpy())
        times.append(segment.start_s + np.arange(len(values_TD)) / rate)
    if not rows:
        raise ValueError(f"{streams.source} has nothing for part={part!r}; {streams.why_nothing(streams.modality)}")
    return Features(np.concatenate(rows), np.concatenate(times), rate, layer, part)
