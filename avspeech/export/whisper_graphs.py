"""The graphs of a Whisper, with lips or without: its encoders, the keys of their memory, and a step of its decoder."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.export.graph import Graph
from avspeech.export.lips import with_every_frame
from avspeech.export.steps import GrownKeys, key_names, may_look, pair
from avspeech.models.decoder import BlockKeys, TextDecoder
from avspeech.models.flamingo import Flamingo
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperEncoder, positions_valid


class AudioEncoder(nn.Module):
    """Log-mel -> the audio memory, and which of its positions are attended."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, logmel_BAF: Tensor, valid_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, P, D) and bool (B, P)."""
        valid_BP = positions_valid(valid_BA)
        if self.encoder.config.official_padding:
            valid_BP = valid_BP | True
        return self.encoder(logmel_BAF, valid_BA), valid_BP


class LipEncoder(nn.Module):
    """Lip clips -> what the gated layers look at, projected and scaled."""

    def __init__(self, model: Flamingo) -> None:
        super().__init__()
        self.encoder = with_every_frame(model.video_encoder)
        self.project, self.norm, self.scale = model.video_project, model.video_norm, model.video_scale

    def forward(self, video_BTHW: Tensor, valid_BT: Tensor) -> Tensor:
        """Return (B, T, D)."""
        return self.norm(self.project(self.encoder(None, video_BTHW, valid_BT))) * self.scale


class DecoderStart(nn.Module):
    """The memory -> the keys and values that every block attends to, made once."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, audio_BPD: Tensor, video_BTD: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return key and value of each block for the audio, then those for the video."""
        found: list[Tensor] = []
        for block in self.decoder.blocks:
            found += block.memory_attention.project_memory(audio_BPD)  # type: ignore[union-attr, operator]
        if video_BTD is not None:
            for block in self.decoder.blocks:
                found += block.video.attention.project_memory(video_BTD)  # type: ignore[union-attr, operator]
        return tuple(found)


class DecoderStep(nn.Module):
    """Tokens, keys of the memory and keys of the tokens before -> logits, and the keys that the next step needs."""

    def __init__(self, decoder: TextDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        tokens_BL: Tensor,
        valid_BP: Tensor,
        valid_BT: Tensor | None = None,
        has_video_B: Tensor | None = None,
        **keys: Tensor,
    ) -> tuple[Tensor, ...]:
        """Return the logits after every token, (B, L, V), then key and value of each block, the new tokens included."""
        decoder, length = self.decoder, tokens_BL.shape[1]
        before = keys["past_key_0_BNOE"].shape[2]
        positions_L = torch.arange(length, device=tokens_BL.device) + before
        x_BLD = decoder.embedding(tokens_BL) + F.embedding(positions_L, decoder.positions_LD)
        causal = may_look(length, before, tokens_BL.device)
        found: list[Tensor] = []
        for number, block in enumerate(decoder.blocks):
            memory = BlockKeys(
                pair(keys, "audio", number, "BNPE"),
                valid_BP[:, None, None],
                None if valid_BT is None else pair(keys, "video", number, "BNTE"),
                None if valid_BT is None else valid_BT[:, None, None],
                None if has_video_B is None else has_video_B[:, None, None],
            )
            cache = GrownKeys(*pair(keys, "past", number, "BNOE"))
            x_BLD = block(x_BLD, memory, causal, cache)
            found += [cache.key_BNQE, cache.value_BNQE]
        return F.linear(decoder.norm(x_BLD), decoder.embedding.weight), *found


def whisper_graphs(model: Whisper) -> list[Graph]:
    """Return every graph that the model is made of."""
    sizes, decoder, depth = model.sizes, model.decoder, model.sizes.text_depth
    batch, acoustic, frames, tokens, before = 2, 12, 3, 3, 2  # of the examples
    real = torch.ones(batch, acoustic, dtype=torch.bool)
    audio = {"logmel_BAF": torch.zeros(batch, acoustic, sizes.mel_bins), "valid_BA": real}
    longest = {
        "A": 2 * sizes.audio_positions,
        "P": sizes.audio_positions,
        "L": sizes.text_positions,
        "O": sizes.text_positions,
    }
    graphs = [Graph("audio_encoder", AudioEncoder(model.encoder), audio, ("audio_BPD", "valid_BP"), longest)]
    positions = acoustic // 2
    memory = {"audio_BPD": torch.zeros(batch, positions, sizes.audio_width)}
    head = sizes.text_width // sizes.text_heads
    kept = {"audio_BNPE": positions, "past_BNOE": before}
    masks = {"valid_BP": real[:, :positions]}
    outputs = key_names("audio", depth, "BNPE")
    if isinstance(model, Flamingo):
        size = model.config.video.video.input_size
        lips = {
            "video_BTHW": torch.zeros(batch, frames, size, size, dtype=torch.uint8),
            "valid_BT": real[:, :frames],
        }
        graphs.append(Graph("video_encoder", LipEncoder(model), lips, ("video_BTD",)))
        memory["video_BTD"] = torch.zeros(batch, frames, sizes.text_width)
        kept["video_BNTE"] = frames
        masks |= {"valid_BT": real[:, :frames], "has_video_B": real[:, 0]}
        outputs += key_names("video", depth, "BNTE")
    graphs.append(Graph("decoder_start", DecoderStart(decoder), memory, outputs, longest))
    inputs = {"tokens_BL": torch.zeros(batch, tokens, dtype=torch.int64)} | masks
    for name, length in kept.items():
        kind, axes = name.split("_")
        for key in key_names(kind, depth, axes):
            inputs[key] = torch.zeros(batch, sizes.text_heads, length, head)
    outputs = ("logits_BLV", *key_names("all", depth, "BNQE"))
    graphs.append(Graph("decoder_step", DecoderStep(decoder), inputs, outputs, longest))
    return graphs
