"""Transformer decoder: tokens so far + memory -> logits of the next token.

The decoder of AV-HuBERT's fine-tuning (Shi et al. 2022, arXiv:2201.02184, section 4.1): pre-norm, ReLU, sinusoidal
positions, input and output embeddings tied and without bias. The first token has position 2, as in the fairseq
models whose weights we want to load; ids are bos 0, pad 1, eos 2, unk 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avspeech.models.blocks import Attention, FeedForward, KeyValueCache, sinusoid_positions

FIRST_POSITION = 2


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the text decoder. Defaults are AV-HuBERT Base's."""

    width: int = 768
    """Channels of the residual stream."""
    depth: int = 6
    """Blocks."""
    num_heads: int = 4
    """Attention heads per block."""
    ffn_width: int = 3072
    """Inner channels of the feed-forward layers."""
    dropout: float = 0.1
    """After the embedding and each sub-layer."""
    attention_dropout: float = 0.0
    """On the attention weights."""
    activation_dropout: float = 0.1
    """Inside the feed-forward layers."""

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"decoder.width={self.width} is not a multiple of decoder.num_heads={self.num_heads}")


class DecoderBlock(nn.Module):
    """Causal self-attention, attention to the memory, feed-forward; all pre-norm."""

    def __init__(self, config: DecoderConfig, memory_width: int) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        self.self_attention = Attention(width, heads, config.attention_dropout)
        self.self_attention_norm = nn.LayerNorm(width)
        self.memory_attention = Attention(width, heads, config.attention_dropout, memory_width)
        self.memory_attention_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, config.ffn_width, nn.ReLU(), config.activation_dropout)
        self.ffn_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        x_BLD: Tensor,
        memory_keys: tuple[Tensor, Tensor],
        memory_allowed: Tensor,
        causal: Tensor | None,
        cache: KeyValueCache | None,
    ) -> Tensor:
        """Return (B, L, D)."""
        normed_BLD = self.self_attention_norm(x_BLD)
        key_BNLE, value_BNLE = self.self_attention.project_memory(normed_BLD)
        if cache is not None:
            key_BNLE, value_BNLE = cache.append(key_BNLE, value_BNLE)
        x_BLD = x_BLD + self.dropout(self.self_attention.attend(normed_BLD, key_BNLE, value_BNLE, causal))
        normed_BLD = self.memory_attention_norm(x_BLD)
        x_BLD = x_BLD + self.dropout(self.memory_attention.attend(normed_BLD, *memory_keys, memory_allowed))
        return x_BLD + self.dropout(self.ffn(self.ffn_norm(x_BLD)))


class DecoderState:
    """What decoding carries from token to token: keys of the memory and of the tokens so far."""

    def __init__(self, memory_keys: list[tuple[Tensor, Tensor]], allowed: Tensor, caches: list[KeyValueCache]) -> None:
        self.memory_keys, self.allowed, self.caches = memory_keys, allowed, caches

    @property
    def length(self) -> int:
        """Tokens decoded so far."""
        return self.caches[0].length

    def reorder(self, rows_B: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_B[i]`` of the same utterance."""
        for cache in self.caches:
            cache.reorder(rows_B)


class TextDecoder(nn.Module):
    """Tokens and memory -> logits over the vocabulary.

    Args:
        config: sizes.
        vocab_size: V.
        memory_width: channels of the memory.
        pad: id of padding; its embedding is zero.
    """

    def __init__(self, config: DecoderConfig, vocab_size: int, memory_width: int, pad: int = 1) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab_size, config.width, padding_idx=pad)
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        nn.init.zeros_(self.embedding.weight[pad])
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(DecoderBlock(config, memory_width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, tokens_BL: Tensor, memory_BTD: Tensor, valid_BT: Tensor) -> Tensor:
        """Return the logits that follow every token, (B, L, V); all at once, for training.

        Args:
            tokens_BL: int64, the decoder's input, padded at the right end.
            memory_BTD: the encoder's output.
            valid_BT: bool, True where the memory is real.
        """
        length = tokens_BL.shape[1]
        causal = torch.ones(length, length, dtype=torch.bool, device=tokens_BL.device).tril()
        x_BLD = self._embed(tokens_BL, 0)
        for block in self.blocks:
            keys = block.memory_attention.project_memory(memory_BTD)  # type: ignore[union-attr, operator]
            x_BLD = block(x_BLD, keys, valid_BT[:, None, None], causal, None)
        return self._logits(x_BLD)

    def start(self, memory_BTD: Tensor, valid_BT: Tensor, max_length: int, beam_size: int = 1) -> DecoderState:
        """Prepare cached decoding of ``beam_size`` hypotheses an utterance, each of up to ``max_length`` tokens."""
        rows = len(memory_BTD) * beam_size
        shape = (rows, self.config.num_heads, max_length, self.config.width // self.config.num_heads)
        keys, caches = [], []
        for block in self.blocks:
            pair = block.memory_attention.project_memory(memory_BTD)  # type: ignore[union-attr, operator]
            keys.append(tuple(part.repeat_interleave(beam_size, dim=0) for part in pair))
            caches.append(KeyValueCache(pair[0].new_empty(shape), pair[1].new_empty(shape)))
        return DecoderState(keys, valid_BT.repeat_interleave(beam_size, dim=0)[:, None, None], caches)

    def step(self, tokens_B: Tensor, state: DecoderState) -> Tensor:
        """Return the logits after one more token, (B, V), and remember the token in ``state``."""
        x_BLD = self._embed(tokens_B[:, None], state.length)
        for block, keys, cache in zip(self.blocks, state.memory_keys, state.caches, strict=True):
            x_BLD = block(x_BLD, keys, state.allowed, None, cache)
        return self._logits(x_BLD)[:, 0]

    def _embed(self, tokens_BL: Tensor, first: int) -> Tensor:
        positions_LD = sinusoid_positions(tokens_BL.shape[1], self.config.width, FIRST_POSITION + first)
        x_BLD = self.embedding(tokens_BL)
        return self.dropout(x_BLD + positions_LD.to(x_BLD))

    def _logits(self, x_BLD: Tensor) -> Tensor:
        return nn.functional.linear(self.norm(x_BLD), self.embedding.weight)
