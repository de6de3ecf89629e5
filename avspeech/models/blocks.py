"""Transformer parts: attention with key-value cache, encoder block, positions.

Shapes and order follow wav2vec 2.0 (arXiv:2006.11477, section 3), on which AV-HuBERT builds, so that its weights fit.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass
class KeyValueCache:
    """Keys and values of the decoded tokens, (B, heads, longest, width / heads); the first ``length`` are filled."""

    key_BNLE: Tensor
    value_BNLE: Tensor
    length: int = 0

    def append(self, key_BNLE: Tensor, value_BNLE: Tensor) -> tuple[Tensor, Tensor]:
        """Store new keys and values; return all of them so far."""
        end = self.length + key_BNLE.shape[2]
        assert end <= self.key_BNLE.shape[2], "the cache was made for shorter hypotheses"
        self.key_BNLE[:, :, self.length : end] = key_BNLE
        self.value_BNLE[:, :, self.length : end] = value_BNLE
        self.length = end
        return self.key_BNLE[:, :, :end], self.value_BNLE[:, :, :end]

    def reorder(self, rows_B: Tensor) -> None:
        """Copy row ``rows_B[i]`` to row i, for the surviving beams."""
        filled = self.length
        self.key_BNLE[:, :, :filled] = self.key_BNLE[rows_B, :, :filled]
        self.value_BNLE[:, :, :filled] = self.value_BNLE[rows_B, :, :filled]


class Attention(nn.Module):
    """Multi-head attention; all projections have a bias, except Whisper's keys (``key_bias=False``)."""

    def __init__(
        self, width: int, num_heads: int, dropout: float = 0.0, memory_width: int | None = None, key_bias: bool = True
    ) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(memory_width or width, width, bias=key_bias)
        self.value = nn.Linear(memory_width or width, width)
        self.out = nn.Linear(width, width)
        for layer in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(layer.weight, gain=1 / math.sqrt(2))
        nn.init.xavier_uniform_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def split(self, x_BTD: Tensor) -> Tensor:
        """Return the heads apart, (B, heads, T, D / heads)."""
        return x_BTD.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def project_memory(self, memory_BTD: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values of a memory, each (B, heads, T, D / heads)."""
        return self.split(self.key(memory_BTD)), self.split(self.value(memory_BTD))

    def attend(self, x_BLD: Tensor, key_BNTE: Tensor, value_BNTE: Tensor, allowed: Tensor | None) -> Tensor:
        """Return the attention output, (B, L, D), for queries ``x_BLD`` before projection.

        ``allowed`` is bool, broadcast to (B, heads, L, T), True where a query may attend; None: everywhere.
        """
        given = (self.split(self.query(x_BLD)), key_BNTE, value_BNTE)
        dropout = self.dropout if self.training else 0.0
        x_BNLE = F.scaled_dot_product_attention(*given, attn_mask=allowed, dropout_p=dropout)
        return self.out(x_BNLE.transpose(1, 2).flatten(2))

    def forward(self, x_BTD: Tensor, allowed: Tensor | None = None) -> Tensor:
        """Self-attention over (B, T, D)."""
        return self.attend(x_BTD, *self.project_memory(x_BTD), allowed)


class FeedForward(nn.Module):
    """Linear, activation, dropout, linear."""

    def __init__(self, width: int, inner_width: int, activation: nn.Module, dropout: float = 0.0) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner_width)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(inner_width, width)
        for layer in (self.inner, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Apply the network to each frame; return (B, T, D)."""
        return self.out(self.dropout(self.activation(self.inner(x_BTD))))


class EncoderBlock(nn.Module):
    """Self-attention and feed-forward with residuals, pre-norm or post-norm."""

    def __init__(
        self,
        width: int,
        num_heads: int,
        ffn_width: int,
        pre_norm: bool = True,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        key_bias: bool = True,
    ) -> None:
        super().__init__()
        self.pre_norm = pre_norm
        self.attention = Attention(width, num_heads, attention_dropout, key_bias=key_bias)
        self.attention_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, ffn_width, nn.GELU(), activation_dropout)
        self.ffn_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor, allowed: Tensor | None) -> Tensor:
        """Return (B, T, D); ``allowed`` as in ``Attention.attend``."""
        if self.pre_norm:
            x_BTD = x_BTD + self.dropout(self.attention(self.attention_norm(x_BTD), allowed))
            return x_BTD + self.dropout(self.ffn(self.ffn_norm(x_BTD)))
        x_BTD = self.attention_norm(x_BTD + self.dropout(self.attention(x_BTD, allowed)))
        return self.ffn_norm(x_BTD + self.dropout(self.ffn(x_BTD)))


class ConvPositions(nn.Module):
    """Relative positions from a grouped convolution over time (arXiv:2006.11477, section 2)."""

    def __init__(self, width: int, kernel: int, groups: int) -> None:
        super().__init__()
        conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(conv.weight, std=math.sqrt(4 / (kernel * width)))
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
        self.conv = nn.utils.parametrizations.weight_norm(conv, dim=2)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Return the positions to add to ``x_BTD``, whose padding is zero."""
        y_BDT = self.conv(x_BTD.transpose(1, 2))[..., : x_BTD.shape[1]]  # an even kernel gives one step too many
        return F.gelu(y_BDT).transpose(1, 2)


def sinusoid_positions(length: int, width: int, first: int = 0) -> Tensor:
    """Return sinusoidal positions, (length, width), from position ``first``: sines, then cosines.

    Wavelengths run geometrically from 2 pi to 10,000 * 2 pi, both included (arXiv:1706.03762, section 3.5).
    """
    half = width // 2
    steps = torch.arange(half, dtype=torch.float32) * (-math.log(10_000) / (half - 1))
    angles = torch.arange(first, first + length, dtype=torch.float32)[:, None] * steps.exp()[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def run_block(block: nn.Module, saves_memory: bool, *args: Any) -> Tensor:
    """Return ``block(*args)``, checkpointed if ``saves_memory`` and a gradient flows."""
    if saves_memory and torch.is_grad_enabled():
        return checkpoint(block, *args, use_reentrant=False)  # type: ignore[return-value]
    return block(*args)
