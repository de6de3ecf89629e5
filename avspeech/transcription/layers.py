"""Features of any layer of a model's encoder, for a whole file."""

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
LONGEST_S = 30.0
"""Longest piece of a file in seconds that is encoded at once; a longer file is cut in pauses."""


@dataclass(frozen=True)
class Features:
    """The output of a layer for a file."""

    values_TD: np.ndarray
    """float32, one row per step of the layer's clock; steps outside of all pieces are left out."""
    times_T: np.ndarray
    """float64, start of each row in seconds from the file's start."""
    rate: int
    """Rows per second within a piece."""
    layer: int | None
    """None: the end of the encoder."""
    part: Part
    """The encoder: ``fused`` for AV-HuBERT's, ``audio`` for Whisper's, ``video`` for the one that a Whisper reads lips
    with."""


def encoder_part(network: Model, part: Part | None) -> Part:
    """Return the encoder that is meant, by default the first that the model has.

    Raises:
        ValueError: the model has no such encoder.
    """
    has: tuple[Part, ...] = ("fused",)
    if network.inputs.audio == "logmel":
        has = ("audio",) if network.lip_encoder is None else ("audio", "video")
    if part is not None and part not in has:
        raise ValueError(f"part={part!r} came for a {type(network).__name__}; it has {', '.join(has)}")
    return part or has[0]


def longest_piece_s(network: Model, part: Part) -> float:
    """Return the longest piece of a file, in seconds, that an encoder is given at once."""
    return min(LONGEST_S, network.inputs.longest_s or LONGEST_S) if part == "audio" else LONGEST_S


@torch.no_grad()
def layer_features(network: Model, streams: Streams, layer: int | None, part: Part) -> Features:
    """Return the features of all segments of a file, with or without speech.

    Args:
        network: in evaluation mode.
        streams: of the file, cut into pieces of up to ``longest_piece_s``.
        layer: 1 is the output of the first block, 0 its input, None the end of the encoder.
        part: see ``encoder_part``.

    Raises:
        ValueError: there is no such layer, or the file lacks what this part reads.
    """
    device = next(network.parameters()).device
    lips: Any = network.lip_encoder
    inputs = replace(network.inputs, pads_to_30s=False) if part == "audio" else lips.inputs
    rows, times, rate = [], [], POSITIONS_PER_SECOND if part == "audio" else FRAME_RATE
    for segment in streams.segments:
        audio_S = None if part == "video" else streams.sound(segment)
        mouth_THW = None if part == "audio" else segment.mouth_THW
        if audio_S is None and mouth_THW is None:
            continue
        batch = collate([make_sample(inputs, "", segment.num_frames, audio_S, mouth_THW)]).to(device)
        if part == "audio":
            encoder: Any = network.encoder
            values_TD = encoder(batch.logmel_BAF, layer=layer)[0]
        else:
            values_TD = lips(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, layer=layer)[0]
        rows.append(values_TD.float().cpu().numpy())
        times.append(segment.start_s + np.arange(len(values_TD)) / rate)
    if not rows:
        raise ValueError(f"{streams.source} has nothing for part={part!r}; {streams.why_nothing(streams.modality)}")
    return Features(np.concatenate(rows), np.concatenate(times), rate, layer, part)
