"""Parts of a model as graphs: encoders and a step of the text decoder."""

import copy
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.export.graph import Graph
from avspeech.features.clip import normalize_clips
from avspeech.models.blocks import sinusoid_positions
from avspeech.models.decoder import FIRST_POSITION, BlockKeys, TextDecoder
from avspeech.models.encoder import AVEncoder
from avspeech.models.frontends import VideoFrontend


class EveryFrame(nn.Module):
    """A video front end that computes every frame, as sizes in a graph must not depend on a mask.

    Takes uint8 crops and returns features, (B, T, D), zero for unwanted frames.
    """

    def __init__(self, frontend: VideoFrontend) -> None:
        super().__init__()
        self.frontend = frontend

    def forward(self, video_BTHW: Tensor, valid_BT: Tensor, wanted_BT: Tensor) -> Tensor:
        config, frames = self.frontend.config, video_BTHW.shape[1]
        video_BTHW = normalize_clips(video_BTHW, valid_BT)
        if config.shrink > 1:
            video_BTHW = F.avg_pool2d(video_BTHW, config.shrink)
        reach = config.stem_frames // 2
        padded_BTHW = F.pad(video_BTHW, (0, 0, 0, 0, reach, reach))
        shifted = [padded_BTHW[:, first : first + frames] for first in range(config.stem_frames)]
        features_MD = self.frontend.embed_windows(torch.stack(shifted, dim=2).flatten(0, 1))
        return torch.where(wanted_BT[..., None], features_MD.unflatten(0, (-1, frames)), 0)


def with_every_frame(encoder: AVEncoder) -> AVEncoder:
    """Return an encoder with the same weights and ``EveryFrame``."""
    twin = copy.copy(encoder)
    twin._modules = dict(encoder._modules)
    twin.video_frontend = EveryFrame(encoder.video_frontend)  # type: ignore[assignment]
    return twin


class DecoderStart(nn.Module):
    """The memory -> each block's keys and values for it, then for any video, once per utterance."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, **memories_BTD: Tensor) -> tuple[Tensor, ...]:
        memory, *video = memories_BTD.values()
        blocks: Any = self.decoder.blocks
        pairs = [block.memory_attention.project_memory(memory) for block in blocks]
        pairs += [block.video.attention.project_memory(video_BTD) for video_BTD in video for block in blocks]
        return tuple(tensor for pair in pairs for tensor in pair)


class DecoderStep(nn.Module):
    """Tokens, keys of the memory (``memory_BNTE`` or ``audio_BNPE``) and of earlier tokens -> logits and next keys.

    Returns (B, L, V), then each block's key and value, new tokens included.
    """

    def __init__(self, decoder: TextDecoder, memory: str) -> None:
        super().__init__()
        self.decoder, self.memory = decoder, memory

    def forward(self, **given: Tensor) -> tuple[Tensor, ...]:
        decoder, tokens_BL = self.decoder, given["tokens_BL"]
        length, before = tokens_BL.shape[1], given["past_key_0_BNOE"].shape[2]
        own_L = torch.arange(length, device=tokens_BL.device) + before
        causal = torch.arange(before + length, device=tokens_BL.device)[None] <= own_L[:, None]
        if decoder.positions_LD is None:
            positions_LD = sinusoid_positions(length, decoder.config.width, FIRST_POSITION + before)
        else:
            positions_LD = F.embedding(own_L, decoder.positions_LD)
        x_BLD = decoder.embedding(tokens_BL) + positions_LD
        valid = given[f"valid_B{self.memory[-2]}"][:, None, None]
        found: list[Tensor] = []
        for number, block in enumerate(decoder.blocks):
            keys = BlockKeys(_pair(given, self.memory, number), valid)
            if "video_key_0_BNTE" in given:
                mask, present = given["valid_BT"][:, None, None], given["has_video_B"][:, None, None]
                keys = replace(
                    keys, video=_pair(given, "video_BNTE", number), video_allowed=mask, has_video_B11=present
                )
            cache = GrownKeys(*_pair(given, "past_BNOE", number))
            x_BLD = block(x_BLD, keys, causal, cache)
            found += [cache.key_BNQE, cache.value_BNQE]
        return F.linear(decoder.norm(x_BLD), decoder.embedding.weight), *found


class GrownKeys:
    """A ``KeyValueCache`` for graphs: it concatenates instead of writing in place."""

    def __init__(self, key_BNOE: Tensor, value_BNOE: Tensor) -> None:
        self.key_BNQE, self.value_BNQE = key_BNOE, value_BNOE

    def append(self, key_BNLE: Tensor, value_BNLE: Tensor) -> tuple[Tensor, Tensor]:
        self.key_BNQE = torch.cat([self.key_BNQE, key_BNLE], dim=2)
        self.value_BNQE = torch.cat([self.value_BNQE, value_BNLE], dim=2)
        return self.key_BNQE, self.value_BNQE


def decoder_graphs(
    decoder: TextDecoder, memory: str, width: int, longest: dict[str, int], has_video: bool = False
) -> list[Graph]:
    """Return the graphs that start a text decoder and make one step.

    ``memory`` is ``memory_BTD`` or ``audio_BPD``, ``width`` its channels, ``longest`` is of ``Graph``.
    """
    sizes, (name, axes) = decoder.config, memory.split("_")
    batch, length = 2, 6 if axes[1] == "P" else 3  # of the examples; 3 tokens follow 2
    keys = f"{name}_BN{axes[1]}E"
    memories, kept = {memory: torch.zeros(batch, length, width)}, {keys: length, "past_BNOE": 2}
    inputs = {"tokens_BL": torch.zeros(batch, 3, dtype=torch.int64)}
    inputs[f"valid_B{axes[1]}"] = torch.ones(batch, length, dtype=torch.bool)
    made = _key_names(keys, sizes.depth)
    if has_video:
        memories["video_BTD"], kept["video_BNTE"] = torch.zeros(batch, 3, sizes.width), 3
        inputs["valid_BT"] = torch.ones(batch, 3, dtype=torch.bool)
        inputs["has_video_B"] = torch.ones(batch, dtype=torch.bool)
        made += _key_names("video_BNTE", sizes.depth)
    for kind, count in kept.items():
        for key in _key_names(kind, sizes.depth):
            inputs[key] = torch.zeros(batch, sizes.num_heads, count, sizes.width // sizes.num_heads)
    start = Graph("decoder_start", DecoderStart(decoder), memories, made, longest)
    logits = ("logits_BLV", *_key_names("all_BNQE", sizes.depth))
    return [start, Graph("decoder_step", DecoderStep(decoder, keys), inputs, logits, longest)]


def _key_names(kind: str, depth: int) -> tuple[str, ...]:
    """Return ``past_key_0_BNOE, past_value_0_BNOE, past_key_1_BNOE, ...``."""
    name, axes = kind.split("_")
    return tuple(f"{name}_{part}_{block}_{axes}" for block in range(depth) for part in ("key", "value"))


def _pair(keys: dict[str, Tensor], kind: str, block: int) -> tuple[Tensor, Tensor]:
    name, axes = kind.split("_")
    return keys[f"{name}_key_{block}_{axes}"], keys[f"{name}_value_{block}_{axes}"]
