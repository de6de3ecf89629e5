"""Whisper's sizes and encoder: log-mel at 100 Hz -> memory at 50 Hz (arXiv:2212.04356, section 2.2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.models.blocks import EncoderBlock, run_block, sinusoid_positions

POSITIONS_PER_SECOND = 50  # of the audio memory (axis P)


@dataclass(frozen=True)
class WhisperConfig:
    """Sizes of a Whisper model. Defaults are Whisper small's."""

    mel_bins: int = 80
    """Log-mel channels of the input; large-v3 and turbo have 128."""
    audio_positions: int = 1500
    """Longest audio memory, in positions at 50 Hz."""
    audio_width: int = 768
    """Channels of the audio encoder."""
    audio_heads: int = 12
    """Attention heads of the audio encoder."""
    audio_depth: int = 12
    """Blocks of the audio encoder."""
    vocab_size: int = 51865
    """Text, language, task and time tokens; the number implies the languages."""
    text_positions: int = 448
    """Longest text in tokens, prompt included."""
    text_width: int = 768
    """Channels of the decoder, equal to the encoder's."""
    text_heads: int = 12
    """Attention heads of the decoder."""
    text_depth: int = 12
    """Blocks of the decoder."""
    alignment_heads: tuple[tuple[int, int], ...] = ()
    """(block, head) whose attention follows the words in time; empty: all heads of the later half."""
    official_padding: bool = False
    """Do not mask padding, as in the official code."""

    def __post_init__(self) -> None:
        for side in ("audio", "text"):
            width, heads = getattr(self, f"{side}_width"), getattr(self, f"{side}_heads")
            if width % heads:
                raise ValueError(f"whisper.{side}_width={width} is not a multiple of whisper.{side}_heads={heads}")
        if self.audio_width != self.text_width:
            widths = f"whisper.audio_width={self.audio_width} and whisper.text_width={self.text_width}"
            raise ValueError(f"{widths} must be the same")
        for block, head in self.alignment_heads:
            if not (0 <= block < self.text_depth and 0 <= head < self.text_heads):
                sizes = f"{self.text_depth} blocks of {self.text_heads} heads"
                raise ValueError(f"whisper.alignment_heads has ({block}, {head}); there are {sizes}")


class WhisperEncoder(nn.Module):
    """Log-mel at 100 Hz -> memory at 50 Hz."""

    def __init__(self, config: WhisperConfig) -> None:
        super().__init__()
        self.config = config
        width = config.audio_width
        self.conv1 = nn.Conv1d(config.mel_bins, width, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.positions_PD: Tensor
        self.register_buffer("positions_PD", sinusoid_positions(config.audio_positions, width))
        self.blocks = nn.ModuleList(
            EncoderBlock(width, config.audio_heads, 4 * width, key_bias=False) for _ in range(config.audio_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.saves_memory = False  # recompute activations in the backward pass

    def forward(self, logmel_BAF: Tensor, valid_BA: Tensor | None = None, layer: int | None = None) -> Tensor:
        """Return the memory, (B, P, D) with P = ceil(A / 2), arbitrary in padding; ValueError if audio does not fit.

        Args:
            logmel_BAF: log-mel at 100 Hz (``features/logmel.py``), zero where padded.
            valid_BA: bool, True for real frames; None: all. Ignored with ``official_padding``.
            layer: return this block's output without the final norm, 0: input of the blocks; None: the encoder's end.
        """
        if layer is not None and not 0 <= layer <= len(self.blocks):
            raise ValueError(f"layer={layer}: this encoder has layers 0 to {len(self.blocks)}")
        if logmel_BAF.shape[2] != self.config.mel_bins:
            wanted = f"(B, A, {self.config.mel_bins}) for this model; make the sample for this model's inputs"
            raise ValueError(f"log-mel {tuple(logmel_BAF.shape)} must be {wanted}")
        num_positions = (logmel_BAF.shape[1] + 1) // 2
        if num_positions > self.config.audio_positions:
            came, limit = logmel_BAF.shape[1] / 100, self.config.audio_positions / POSITIONS_PER_SECOND
            mend = "cut the clip, or leave out long ones (data.batches.longest)"
            raise ValueError(f"{came:g} s of audio came, this model takes at most {limit:g} s; {mend}")
        if self.config.official_padding:
            valid_BA = None
        x_BDA = logmel_BAF.transpose(1, 2)
        if valid_BA is None:
            x_BDP, allowed = F.gelu(self.conv2(F.gelu(self.conv1(x_BDA)))), None
        else:
            real_B1A = valid_BA[:, None]
            x_BDA = torch.where(real_B1A, F.gelu(self.conv1(torch.where(real_B1A, x_BDA, 0))), 0)
            x_BDP, allowed = F.gelu(self.conv2(x_BDA)), positions_valid(valid_BA)[:, None, None]
        x_BPD = x_BDP.transpose(1, 2).contiguous()  # strides would slow down every sum and norm of the blocks
        x_BPD = x_BPD + self.positions_PD[:num_positions].to(x_BDP)
        for block in self.blocks[:layer]:
            x_BPD = run_block(block, self.saves_memory, x_BPD, allowed)
        return self.norm(x_BPD) if layer is None else x_BPD


def positions_valid(valid_BA: Tensor) -> Tensor:
    """Return ``valid_BP``: a position at 50 Hz is real if its first acoustic frame is."""
    return valid_BA[:, ::2]
