"""Features of any layer of a model's encoder, for a whole file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from avspeech.inputs import collate, make_sample
from avspeech.models.files import Model
from avspeech.models.flamingo import Flamingo
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import POSITIONS_PER_SECOND, WhisperEncoder
from avspeech.timebase import FRAME_RATE
from avspeech.transcription.streams import Streams

Part = Literal["audio", "video", "fused"]
LONGEST_S = 30.0
"""Longest piece that is encoded at once; a longer file is cut where nobody speaks."""


@dataclass(frozen=True)
class Features:
    """What a layer makes of a file."""

    values_TD: np.ndarray
    """float32, a row for each step of the layer's clock; frames that lie in no piece are left out."""
    times_T: np.ndarray
    """float64, when each row begins, in seconds from the file's start."""
    rate: int
    """Rows per second within a piece."""
    layer: int | None
    """None: the end of the encoder."""
    part: Part
    """Which encoder: AV-HuBERT's of both streams (``fused``), Whisper's, or that of its lips."""


def encoder_part(network: Model, part: Part | None) -> Part:
    """Return which encoder is meant.

    Raises:
        ValueError: the model has no such part.
    """
    has: tuple[Part, ...] = ("fused",)
    if isinstance(network, Whisper):
        has = ("audio", "video") if isinstance(network, Flamingo) else ("audio",)
    if part is not None and part not in has:
        raise ValueError(f"part={part!r} came for a {type(network).__name__}; it has {', '.join(has)}")
    return part or has[0]


def longest_piece_s(network: Model, part: Part) -> float:
    """Return the longest piece of a file, in seconds, that an encoder is given at once."""
    if part == "audio" and isinstance(network, Whisper):
        return min(LONGEST_S, network.sizes.audio_positions / POSITIONS_PER_SECOND)
    return LONGEST_S


@torch.no_grad()
def layer_features(network: Model, streams: Streams, layer: int | None, part: Part) -> Features:
    """Return the features of all segments of a file, speech or not.

    Args:
        network: in evaluation mode.
        streams: of the file, cut into pieces of up to ``LONGEST_S``.
        layer: 1 is the output of the first block, 0 its input, None the end of the encoder.
        part: see ``encoder_part``.

    Raises:
        ValueError: there is no such layer, or the file lacks what this part reads.
    """
    device = next(network.parameters()).device
    rows, times, rate = [], [], POSITIONS_PER_SECOND if part == "audio" else FRAME_RATE
    for segment in streams.segments:
        audio_S = None if part == "video" else streams.sound(segment)
        mouth_THW = None if part == "audio" else segment.mouth_THW
        if audio_S is None and mouth_THW is None:
            continue
        values_TD = _encode(network, part, layer, audio_S, mouth_THW, segment.num_frames, device)
        rows.append(values_TD.float().cpu().numpy())
        times.append(segment.start_s + np.arange(len(values_TD)) / rate)
    if not rows:
        raise ValueError(f"{streams.source} has nothing for part={part!r}; {streams.why_nothing(streams.modality)}")
    return Features(np.concatenate(rows), np.concatenate(times), rate, layer, part)


def _encode(
    network: Model,
    part: Part,
    layer: int | None,
    audio_S: np.ndarray | None,
    mouth_THW: np.ndarray | None,
    num_frames: int,
    device: torch.device,
) -> Tensor:
    encoder = network.lip_encoder
    inputs = network.inputs if part == "audio" or encoder is None else encoder.inputs
    sample = make_sample(replace(inputs, pads_to_30s=False), "", num_frames, audio_S, mouth_THW)
    batch = collate([sample]).to(device)
    if part == "audio":
        assert isinstance(network, Whisper) and batch.logmel_BAF is not None
        return _whisper_layer(network.encoder, batch.logmel_BAF, layer)
    assert encoder is not None
    return encoder(batch.audio_BTF, batch.video_BTHW, batch.valid_BT, layer=layer)[0]


def _whisper_layer(encoder: WhisperEncoder, logmel_BAF: Tensor, layer: int | None) -> Tensor:
    """Return (P, D) of a block of Whisper's encoder, which itself gives only its end."""
    depth = len(encoder.blocks)
    if layer is not None and not 0 <= layer <= depth:
        raise ValueError(f"layer={layer}: this encoder has layers 0 to {depth}")
    if layer is None:
        return encoder(logmel_BAF)[0]
    if layer == 0:
        with _caught(encoder.blocks[0], of_input=True) as caught:
            encoder(logmel_BAF)
    else:
        with _caught(encoder.blocks[layer - 1], of_input=False) as caught:
            encoder(logmel_BAF)
    return caught()[0]


@contextmanager
def _caught(block: nn.Module, of_input: bool) -> Iterator[Callable[[], Tensor]]:
    """Catch what goes into a block or comes out of it, inside the ``with``."""
    seen: list[Tensor] = []

    def catch(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen.append(inputs[0] if of_input else output)

    hook = block.register_forward_hook(catch)
    try:
        yield lambda: seen[-1]
    finally:
        hook.remove()
