"""Graphs and ``config.json`` entries of each kind of model."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from avspeech.decoding.whisper_rules import TokenRules
from avspeech.export.graph import Graph
from avspeech.export.parts import decoder_graphs, with_every_frame
from avspeech.models.flamingo import Flamingo
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperEncoder, positions_valid
from avspeech.text.tokenizer import BLANK, EOS, PAD

BATCH, FRAMES, ACOUSTIC = 2, 3, 12
"""Sizes of the export's examples."""
_SIZES = ("mel_bins", "audio_positions", "audio_width", "vocab_size", "text_positions", "text_width", "text_heads",
          "text_depth", "official_padding")  # fmt: skip
"""Fields of ``WhisperConfig`` that a runtime needs."""


@dataclass(frozen=True)
class Export:
    """A model as graphs."""

    graphs: list[Graph]
    config: dict[str, Any]
    """Entries of ``config.json``: sizes, special tokens, tokenizer."""
    pieces: list[str] | None = None
    """Text tokens' bytes in base64 (some are half a character); None: the tokenizer is in ``config``."""


class StreamEncoder(nn.Module):
    """Both streams -> the memory, (B, T, D), and any CTC logits, (B, U, V)."""

    def __init__(self, model: Recognizer) -> None:
        super().__init__()
        self.model, self.encoder = model, with_every_frame(model.av_encoder)

    def forward(self, audio_BTF: Tensor, video_BTHW: Tensor, valid_BT: Tensor, keep_B2: Tensor) -> tuple[Tensor, ...]:
        memory_BTD = self.encoder(audio_BTF, video_BTHW, valid_BT, keep_B2)
        return (memory_BTD,) if self.model.ctc_head is None else (memory_BTD, self.model.ctc_logits(memory_BTD))


def _lips(size: int) -> dict[str, Tensor]:
    crops_BTHW = torch.zeros(BATCH, FRAMES, size, size, dtype=torch.uint8)
    return {"video_BTHW": crops_BTHW, "valid_BT": torch.ones(BATCH, FRAMES, dtype=torch.bool)}


def recognizer_export(model: Recognizer) -> Export:
    """Return a recogniser's encoder and text decoder."""
    config = model.av_encoder.config
    size, lips = config.video.input_size, _lips(config.video.input_size)
    streams = {"audio_BTF": torch.zeros(BATCH, FRAMES, config.audio_features), **lips}
    streams["keep_B2"] = lips["valid_BT"][:, :2]
    outputs = ("memory_BTD",) if model.ctc_head is None else ("memory_BTD", "ctc_logits_BUV")
    graphs = [Graph("encoder", StreamEncoder(model), streams, outputs)]
    sizes: dict[str, Any] = {
        "audio_features": config.audio_features,
        "video_size": size,
        "width": config.width,
        "vocab_size": model.vocab_size,
        "ctc_upsample": model.config.ctc_upsample,
    }
    if model.decoder is not None:
        graphs += decoder_graphs(model.decoder, "memory_BTD", config.width, {})
        text = model.decoder.config
        sizes |= {"text_depth": text.depth, "text_heads": text.num_heads, "text_width": text.width}
    tokens = {"blank": BLANK, "begin": EOS, "end": EOS, "pad": PAD}
    return Export(graphs, {"sizes": sizes, "tokens": tokens, "tokenizer": model.to_config()["tokenizer"]})


class AudioEncoder(nn.Module):
    """Log-mel -> the audio memory, (B, P, D), and its mask, bool (B, P)."""

    def __init__(self, encoder: WhisperEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, logmel_BAF: Tensor, valid_BA: Tensor) -> tuple[Tensor, Tensor]:
        valid_BP = positions_valid(valid_BA)
        if self.encoder.config.official_padding:
            valid_BP = valid_BP | True
        return self.encoder(logmel_BAF, valid_BA), valid_BP


class LipEncoder(nn.Module):
    """Mouth crops -> the projected and scaled memory of the gated layers, (B, T, D)."""

    def __init__(self, model: Flamingo) -> None:
        super().__init__()
        self.encoder = with_every_frame(model.video_encoder)
        self.project, self.norm, self.scale = model.video_project, model.video_norm, model.video_scale

    def forward(self, video_BTHW: Tensor, valid_BT: Tensor) -> Tensor:
        return self.norm(self.project(self.encoder(None, video_BTHW, valid_BT))) * self.scale


def whisper_export(model: Whisper) -> Export:
    """Return a Whisper's audio encoder and text decoder."""
    sizes = model.sizes
    audio = {"logmel_BAF": torch.zeros(BATCH, ACOUSTIC, sizes.mel_bins)}
    audio["valid_BA"] = torch.ones(BATCH, ACOUSTIC, dtype=torch.bool)
    longest = {"A": 2 * sizes.audio_positions, "P": sizes.audio_positions}
    longest |= dict.fromkeys("LO", sizes.text_positions)
    encoder = Graph("audio_encoder", AudioEncoder(model.encoder), audio, ("audio_BPD", "valid_BP"), longest)
    decoder = decoder_graphs(model.decoder, "audio_BPD", sizes.audio_width, longest, model.has_video)
    tokenizer = model.tokenizer
    library, rules = tokenizer.library, TokenRules(tokenizer)
    tokens = {name: getattr(tokenizer, name) for name in ("start", "end", "first_time")}
    tokens |= {name: getattr(library, name) for name in ("no_timestamps", "no_speech", "transcribe", "translate")}
    # An English-only model has no language tokens.
    tokens["languages"] = dict(zip(tokenizer.languages, tokenizer.language_tokens, strict=False))
    tokens |= {name: getattr(rules, name).tolist() for name in ("suppressed", "suppressed_at_start")}
    pieces = [library.encoding.decode_single_token_bytes(number) for number in range(tokenizer.end)]
    config = {"sizes": {name: getattr(sizes, name) for name in _SIZES}, "tokens": tokens}
    return Export([encoder, *decoder], config, [base64.b64encode(piece).decode("ascii") for piece in pieces])


def flamingo_export(model: Flamingo) -> Export:
    """Return ``whisper_export`` and the video encoder."""
    export, size = whisper_export(model), model.config.video.video.input_size
    export.graphs.insert(1, Graph("video_encoder", LipEncoder(model), _lips(size), ("video_BTD",)))
    export.config["sizes"] |= {"video_size": size, "zero_dropped_video": model.config.zero_dropped_video}
    return export


EXPORTS: dict[str, Callable[[Any], Export]] = {
    "recognizer": recognizer_export,
    "whisper": whisper_export,
    "flamingo": flamingo_export,
}
"""Kind of a model -> its export function."""
