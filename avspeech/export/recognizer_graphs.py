"""The graphs of a recogniser: its encoder with the CTC head, and a step of its text decoder."""

import torch
from torch import Tensor, nn

from avspeech.export.graph import Graph
from avspeech.export.lips import with_every_frame
from avspeech.export.steps import GrownKeys, key_names, may_look, pair
from avspeech.models.blocks import sinusoid_positions
from avspeech.models.decoder import FIRST_POSITION, BlockKeys, TextDecoder
from avspeech.models.recognizer import Recognizer


class StreamEncoder(nn.Module):
    """Both streams -> the memory and, where there is a CTC head, its logits."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model, self.encoder = model, with_every_frame(model.av_encoder)

    def forward(self, audio_BTF: Tensor, video_BTHW: Tensor, valid_BT: Tensor, keep_B2: Tensor) -> tuple[Tensor, ...]:
        """Return (B, T, D), and (B, U, V)."""
        memory_BTD = self.encoder(audio_BTF, video_BTHW, valid_BT, keep_B2)
        return (memory_BTD,) if self.model.ctc_head is None else (memory_BTD, self.model.ctc_logits(memory_BTD))


class TextStart(nn.Module):
    """The memory -> the keys and values that every block attends to, made once."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, memory_BTD: Tensor) -> tuple[Tensor, ...]:
        """Return key and value of each block."""
        found: list[Tensor] = []
        for block in self.decoder.blocks:
            found += block.memory_attention.project_memory(memory_BTD)  # type: ignore[union-attr, operator]
        return tuple(found)


class TextStep(nn.Module):
    """Tokens, keys of the memory and keys of the tokens before -> logits, and the keys that the next step needs."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, tokens_BL: Tensor, valid_BT: Tensor, **keys: Tensor) -> tuple[Tensor, ...]:
        """Return the logits after every token, (B, L, V), then key and value of each block, the new tokens included."""
        decoder, length = self.decoder, tokens_BL.shape[1]
        before = keys["past_key_0_BNOE"].shape[2]
        positions_LD = sinusoid_positions(length, decoder.config.width, FIRST_POSITION + before)
        x_BLD = decoder.embedding(tokens_BL) + positions_LD
        causal = may_look(length, before, tokens_BL.device)
        found: list[Tensor] = []
        for number, block in enumerate(decoder.blocks):
            cache = GrownKeys(*pair(keys, "past", number, "BNOE"))
            memory = BlockKeys(pair(keys, "memory", number, "BNTE"), valid_BT[:, None, None])
            x_BLD = block(x_BLD, memory, causal, cache)
            found += [cache.key_BNQE, cache.value_BNQE]
        return nn.functional.linear(decoder.norm(x_BLD), decoder.embedding.weight), *found


def recognizer_graphs(model: Recognizer) -> list[Graph]:
    """Return every graph that the model is made of."""
    config = model.av_encoder.config
    size, (batch, frames, tokens, before) = config.video.input_size, (2, 3, 3, 2)
    valid_BT = torch.ones(batch, frames, dtype=torch.bool)
    streams = {
        "audio_BTF": torch.zeros(batch, frames, config.audio_features),
        "video_BTHW": torch.zeros(batch, frames, size, size, dtype=torch.uint8),
        "valid_BT": valid_BT,
        "keep_B2": valid_BT[:, :2],
    }
    outputs = ("memory_BTD",) if model.ctc_head is None else ("memory_BTD", "ctc_logits_BUV")
    graphs = [Graph("encoder", StreamEncoder(model), streams, outputs)]
    if model.decoder is None:
        return graphs
    sizes = model.decoder.config
    memory = {"memory_BTD": torch.zeros(batch, frames, config.width)}
    names = key_names("memory", sizes.depth, "BNTE")
    graphs.append(Graph("decoder_start", TextStart(model.decoder), memory, names))
    inputs = {"tokens_BL": torch.zeros(batch, tokens, dtype=torch.int64), "valid_BT": valid_BT}
    for kind, axes, length in (("memory", "BNTE", frames), ("past", "BNOE", before)):
        for key in key_names(kind, sizes.depth, axes):
            inputs[key] = torch.zeros(batch, sizes.num_heads, length, sizes.width // sizes.num_heads)
    outputs = ("logits_BLV", *key_names("all", sizes.depth, "BNQE"))
    graphs.append(Graph("decoder_step", TextStep(model.decoder), inputs, outputs))
    return graphs
