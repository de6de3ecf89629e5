"""Audio-visual recogniser: encoder with a CTC head, a text decoder (AV-HuBERT, arXiv:2201.02184, section 4.1), or both.

Small models learn short commands fastest with CTC.
"""

from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from avspeech.models.base import EncoderModel
from avspeech.models.configs import from_plain, to_plain
from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.encoder import BaseEncoderConfig, EncoderConfig, block_sizes
from avspeech.text.tokenizer import PAD, Tokenizer


@dataclass(frozen=True)
class RecognizerConfig:
    """Encoder and text heads."""

    encoder: EncoderConfig | BaseEncoderConfig = EncoderConfig()
    """The audio-visual encoder."""
    decoder: DecoderConfig | None = DecoderConfig()
    """Text decoder; null: none."""
    ctc: bool = False
    """Add a CTC head."""
    ctc_upsample: int = 1
    """CTC steps per 25 Hz frame; 2 for characters, several of which may fall into one frame."""

    def __post_init__(self) -> None:
        if self.decoder is None and not self.ctc:
            raise ValueError("recognizer.decoder is null and recognizer.ctc is false: set one, or there is no head")
        if self.ctc_upsample < 1:
            raise ValueError(f"recognizer.ctc_upsample={self.ctc_upsample} must be at least 1")


class Recognizer(EncoderModel):
    """Two streams -> memory -> CTC logits and/or next-token logits; token id 0 is also the CTC blank."""

    tokenizer: Tokenizer | None
    kind = "recognizer"
    title = "Audio-visual speech recogniser (AV-HuBERT's encoder)"
    no_text = (
        "its checkpoint came without the dictionary that turns tokens into text: put dict.wrd.txt beside it, or import "
        "it with python -m avspeech.interop CHECKPOINT OUT --dictionary dict.wrd.txt"
    )

    def __init__(self, config: RecognizerConfig, vocab_size: int, tokenizer: Tokenizer | None = None) -> None:
        super().__init__()
        self.config, self.vocab_size, self.tokenizer = config, vocab_size, tokenizer
        self.encoder = config.encoder.build()
        width = config.encoder.width
        self.ctc_head = nn.Linear(width, vocab_size * config.ctc_upsample) if config.ctc else None
        self.decoder = TextDecoder(config.decoder, vocab_size, width, PAD) if config.decoder else None

    @property
    def methods(self) -> tuple[str, ...]:
        single = ("ctc",) * (self.ctc_head is not None) + ("attention",) * (self.decoder is not None)
        return ("joint", *single) if len(single) == 2 else single

    def to_config(self) -> dict[str, Any]:
        tokenizer = None if self.tokenizer is None else self.tokenizer.to_config()
        return {"recognizer": to_plain(self.config), "vocab_size": self.vocab_size, "tokenizer": tokenizer}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        tokenizer = None if config["tokenizer"] is None else Tokenizer.from_config(config["tokenizer"])
        return cls(from_plain(RecognizerConfig, config["recognizer"]), config["vocab_size"], tokenizer)

    def size_lines(self) -> list[str]:
        lines = [f"encoder: {self.encoder.size_line}"]
        if self.config.decoder is not None:
            lines.append(f"decoder: {block_sizes(self.config.decoder)}")
        if self.config.ctc:
            lines.append(f"CTC head: {25 * self.config.ctc_upsample} steps a second")
        tokenizer = f"none: {self.no_text}" if self.tokenizer is None else self.tokenizer.kind
        return [*lines, f"{self.vocab_size} tokens, tokenizer: {tokenizer}"]

    def forward(
        self, audio_BTF: Tensor | None, video_BTHW: Tensor | None, valid_BT: Tensor, keep_B2: Tensor | None = None
    ) -> Tensor:
        """Return the memory, (B, T, D); arguments as in ``Encoder.forward``."""
        return self.encoder(audio_BTF, video_BTHW, valid_BT, keep_B2)

    def ctc_logits(self, memory_BTD: Tensor) -> Tensor:
        """Return CTC logits, (B, T * ctc_upsample, V). Raises ValueError without a CTC head."""
        if self.ctc_head is None:
            raise ValueError("this model has no CTC head; decode with method 'attention' or train with ctc: true")
        logits = self.ctc_head(memory_BTD)
        return logits.unflatten(-1, (self.config.ctc_upsample, self.vocab_size)).flatten(1, 2)
