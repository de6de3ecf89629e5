"""OpenAI's Whisper: log-mel -> memory at 50 Hz -> text token logits.

Whisper (arXiv:2212.04356, section 2.2). Differences: positions are cut to the audio instead of padding it to 30 s, and
padding is masked, so that the batch cannot change a clip's text. ``official_padding`` selects the official behaviour.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import repeat
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from avspeech.inputs import AVBatch, InputSpec
from avspeech.models.base import Model
from avspeech.models.configs import from_plain, to_plain
from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.memory import Memory
from avspeech.models.whisper_encoder import POSITIONS_PER_SECOND, WhisperConfig, WhisperEncoder, positions_valid
from avspeech.text.whisper_tokens import WhisperTokenizer

POSITIONS_AT_ONCE = 1500
"""Positions that a CPU encodes at once in evaluation. More are no faster: activations leave the cache and need fresh
pages (17 % slower with eight 30 s clips on two cores, before the convolutions' output was contiguous)."""


class Whisper(Model):
    """Audio -> text."""

    kind = "whisper"
    title = "Whisper, of audio alone"
    has_video = False
    config_class: ClassVar[type] = WhisperConfig
    lip_encoder = None
    methods = ("attention",)

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.sizes, self.alignment_heads = config, config.alignment_heads
        self.encoder = WhisperEncoder(config)
        self.decoder = TextDecoder(text_sizes(config), config.vocab_size, config.audio_width, has_video=self.has_video)

    def to_config(self) -> dict[str, Any]:
        return {self.kind: to_plain(self.sizes)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(from_plain(cls.config_class, config[cls.kind]))

    @property
    def inputs(self) -> InputSpec:
        sizes, source = self.sizes, self.source or {}
        longest_s = sizes.audio_positions / POSITIONS_PER_SECOND
        pads_to_30s = source.get("model") == "whisper" and not source.get("fine_tuned")
        limits = {"longest_s": longest_s, "longest_text": sizes.text_positions}
        return InputSpec("logmel", sizes.mel_bins, None, **limits, modalities=("audio",), pads_to_30s=pads_to_30s)

    @property
    def stream_encoders(self) -> list[nn.Module]:
        return [self.encoder]

    @property
    def gives_text(self) -> bool:
        return True

    @cached_property
    def tokenizer(self) -> WhisperTokenizer:
        return WhisperTokenizer(self.sizes.vocab_size)

    def size_lines(self) -> list[str]:
        sizes = self.sizes
        return [
            f"audio encoder: {sizes.audio_depth} blocks, width {sizes.audio_width}, {sizes.audio_heads} heads, "
            f"{sizes.mel_bins} mel channels",
            f"decoder: {sizes.text_depth} blocks, width {sizes.text_width}, {sizes.text_heads} heads, "
            f"{sizes.vocab_size} tokens, texts of at most {sizes.text_positions}",
        ]

    def encode(self, batch: AVBatch, keep_B2: Tensor | None = None) -> Memory:
        valid_BA = batch.valid_BA
        if not torch.is_grad_enabled() and valid_BA is not None and bool(valid_BA.all()):
            valid_BA = None  # attention without a mask is faster
        return self.encode_streams(batch.logmel_BAF, valid_BA, batch.video_BTHW, batch.valid_BT, keep_B2)

    def encode_streams(
        self,
        logmel_BAF: Tensor | None,
        valid_BA: Tensor | None = None,
        video_BTHW: Tensor | None = None,
        valid_BT: Tensor | None = None,
        keep_B2: Tensor | None = None,
    ) -> Memory:
        """Return the memory of the audio; arguments of ``Flamingo.encode_streams``. ValueError if audio is missing."""
        if logmel_BAF is None or (keep_B2 is not None and not bool(keep_B2[:, 0].all())):
            raise ValueError("a Whisper without video got no audio; lipreading needs a Flamingo model")
        return self.audio_memory(logmel_BAF, valid_BA)

    def audio_memory(self, logmel_BAF: Tensor, valid_BA: Tensor | None) -> Memory:
        """Return the encoded audio."""
        valid_BP = None if valid_BA is None or self.sizes.official_padding else positions_valid(valid_BA)
        rows = max(1, POSITIONS_AT_ONCE * 2 // max(1, logmel_BAF.shape[1]))
        if torch.is_grad_enabled() or logmel_BAF.device.type != "cpu" or rows >= len(logmel_BAF):
            return Memory(self.encoder(logmel_BAF, valid_BA), valid_BP)
        parts = zip(logmel_BAF.split(rows), repeat(None) if valid_BA is None else valid_BA.split(rows), strict=False)
        return Memory(torch.cat([self.encoder(*part) for part in parts]), valid_BP)

    def forward(self, tokens_BL: Tensor, memory: Memory) -> Tensor:
        """Return the logits after every token, (B, L, V)."""
        return self.decoder(tokens_BL, memory)

    def save_memory(self, on: Sequence[str] = ("encoder", "decoder")) -> None:
        """Recompute activations of the blocks of ``on`` in the backward pass."""
        self.encoder.saves_memory, self.decoder.saves_memory = "encoder" in on, "decoder" in on


def text_sizes(config: WhisperConfig) -> DecoderConfig:
    """Return the sizes of a Whisper's text decoder."""
    sizes = (config.text_width, config.text_depth, config.text_heads, 4 * config.text_width)
    return DecoderConfig(*sizes, 0.0, 0.0, 0.0, activation="gelu", key_bias=False, positions=config.text_positions)
