"""Transformer decoder: tokens + memory -> logits of the next token.

One class covers AV-HuBERT (arXiv:2201.02184, section 4.1; ReLU, sinusoidal positions from 2, as in fairseq) and Whisper
(arXiv:2212.04356, section 2.2; GELU, learned positions, keys without bias). Both are pre-norm with tied embeddings.
Blocks may start with Whisper-Flamingo's gated attention to video (arXiv:2406.10082, section 2.2).
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from avspeech.models.blocks import Attention, FeedForward, KeyValueCache, run_block, sinusoid_positions
from avspeech.models.memory import Memory

FIRST_POSITION = 2  # sinusoidal position of the first token


@dataclass(frozen=True)
class DecoderConfig:
    """Size of the text decoder. Defaults are AV-HuBERT Base's."""

    width: int = 768
    """Channels of the residual stream."""
    depth: int = 6
    """Number of blocks."""
    num_heads: int = 4
    """Attention heads per block."""
    ffn_width: int = 3072
    """Inner channels of the feed-forward layers."""
    dropout: float = 0.1
    """Dropout after the embedding and each sub-layer."""
    attention_dropout: float = 0.0
    """Dropout of attention weights."""
    activation_dropout: float = 0.1
    """Dropout inside the feed-forward layers."""
    activation: Literal["relu", "gelu"] = "relu"
    """Activation of the feed-forward layers."""
    key_bias: bool = True
    """Add a bias to attention keys."""
    positions: int | None = None
    """Number of learned positions (longest text); null: sinusoids without limit."""

    def __post_init__(self) -> None:
        if self.width % self.num_heads:
            raise ValueError(f"decoder.width={self.width} is not a multiple of decoder.num_heads={self.num_heads}")


class GatedVideo(nn.Module):
    """Video attention and feed-forward, each behind a tanh gate that starts at 0."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, num_heads, key_bias=False)
        self.attention_norm = nn.LayerNorm(width)
        self.attention_gate = nn.Parameter(torch.zeros(1))
        self.ffn = FeedForward(width, 4 * width, nn.GELU())
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn_gate = nn.Parameter(torch.zeros(1))

    def forward(
        self, x_BLD: Tensor, keys: tuple[Tensor, Tensor], allowed: Tensor | None, present_B11: Tensor | None
    ) -> Tensor:
        """Return (B, L, D), equal to ``x_BLD`` where ``present_B11`` is False."""
        attended_BLD = self.attention.attend(self.attention_norm(x_BLD), *keys, allowed)
        y_BLD = x_BLD + self.attention_gate.tanh() * attended_BLD
        y_BLD = y_BLD + self.ffn_gate.tanh() * self.ffn(self.ffn_norm(y_BLD))
        return y_BLD if present_B11 is None else torch.where(present_B11, y_BLD, x_BLD)


@dataclass
class BlockKeys:
    """Keys and values of the memory for one decoder block, once per utterance."""

    memory: tuple[Tensor, Tensor]
    allowed: Tensor | None  # bool (B, 1, 1, T), True where attention is allowed; None: everywhere
    video: tuple[Tensor, Tensor] | None = None
    video_allowed: Tensor | None = None
    has_video_B11: Tensor | None = None


class DecoderBlock(nn.Module):
    """Optional gated video, causal self-attention, cross-attention, feed-forward; all pre-norm."""

    def __init__(self, config: DecoderConfig, memory_width: int, has_video: bool = False) -> None:
        super().__init__()
        width, heads = config.width, config.num_heads
        activation = nn.GELU() if config.activation == "gelu" else nn.ReLU()
        sizes = (width, heads, config.attention_dropout)
        self.video = GatedVideo(width, heads) if has_video else None
        self.self_attention = Attention(*sizes, key_bias=config.key_bias)
        self.self_attention_norm = nn.LayerNorm(width)
        self.memory_attention = Attention(*sizes, memory_width, config.key_bias)
        self.memory_attention_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, config.ffn_width, activation, config.activation_dropout)
        self.ffn_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(config.dropout)

    def project(self, memory: Memory) -> BlockKeys:
        """Return this block's keys and values of the memory."""
        masks = (memory.valid_BT, memory.video_valid_BT, memory.has_video_B)
        allowed, *of_video = (None if mask is None else mask[:, None, None] for mask in masks)
        video = None
        if self.video is not None and memory.video_BTD is not None:
            video = self.video.attention.project_memory(memory.video_BTD)
        return BlockKeys(self.memory_attention.project_memory(memory.memory_BTD), allowed, video, *of_video)

    def forward(
        self, x_BLD: Tensor, keys: BlockKeys, causal: Tensor | None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return (B, L, D).

        Several consecutive rows (hypotheses) of ``x_BLD`` share an utterance's keys: copies would dominate memory and
        reading time.
        """
        # Not len(): in an exported graph that would be the batch size of the example.
        shape, utterances = x_BLD.shape, (keys.memory[0].shape[0], -1, x_BLD.shape[2])
        if self.video is not None and keys.video is not None:
            x_BLD = self.video(x_BLD.reshape(utterances), keys.video, keys.video_allowed, keys.has_video_B11)
            x_BLD = x_BLD.reshape(shape)
        normed_BLD = self.self_attention_norm(x_BLD)
        key_BNLE, value_BNLE = self.self_attention.project_memory(normed_BLD)
        if cache is not None:
            key_BNLE, value_BNLE = cache.append(key_BNLE, value_BNLE)
        x_BLD = x_BLD + self.dropout(self.self_attention.attend(normed_BLD, key_BNLE, value_BNLE, causal))
        normed_BLD = self.memory_attention_norm(x_BLD).reshape(utterances)
        attended_BLD = self.memory_attention.attend(normed_BLD, *keys.memory, keys.allowed)
        x_BLD = x_BLD + self.dropout(attended_BLD.reshape(shape))
        return x_BLD + self.dropout(self.ffn(self.ffn_norm(x_BLD)))


@dataclass
class State:
    """Keys of the memory and of the decoded tokens; row ``b * K + k`` is hypothesis k of utterance b."""

    keys: list[BlockKeys]
    caches: list[KeyValueCache] = field(repr=False)

    @property
    def num_utterances(self) -> int:
        return len(self.keys[0].memory[0])

    @property
    def length(self) -> int:
        """Tokens decoded so far, the prompt included."""
        return self.caches[0].length

    def reorder(self, rows_R: Tensor) -> None:
        """Continue hypothesis i from ``rows_R[i]`` of the same utterance."""
        for cache in self.caches:
            cache.reorder(rows_R)

    def repeat(self, times: int) -> None:
        """Repeat every row ``times`` times, consecutively."""
        if times == 1:
            return
        for cache in self.caches:
            cache.key_BNLE = cache.key_BNLE.repeat_interleave(times, dim=0)
            cache.value_BNLE = cache.value_BNLE.repeat_interleave(times, dim=0)

    def keep(self, places: list[int]) -> None:
        """Keep only the utterances at these old places, in place, to free memory.

        A row that moves must come from behind the new end.
        """
        count, before = len(places), self.num_utterances
        moves = [(place, source) for place, source in enumerate(places) if place != source]
        assert all(source >= count for _, source in moves), "a row would be overwritten before it is moved"
        device = self.caches[0].key_BNLE.device
        to, source = torch.tensor(moves, device=device, dtype=torch.long).reshape(-1, 2).unbind(1)
        index_B = torch.tensor(places, device=device)

        def move(part: Tensor) -> Tensor:
            if moves:
                part[to] = part[source]
            return part[:count]

        for keys in self.keys:
            keys.memory = move(keys.memory[0]), move(keys.memory[1])
            if keys.video is not None:
                keys.video = move(keys.video[0]), move(keys.video[1])
            masks = (keys.allowed, keys.video_allowed, keys.has_video_B11)
            picked = (None if mask is None else mask[index_B] for mask in masks)
            keys.allowed, keys.video_allowed, keys.has_video_B11 = picked
        for cache in self.caches:
            cache.key_BNLE = move(cache.key_BNLE.unflatten(0, (before, -1))).flatten(0, 1)
            cache.value_BNLE = move(cache.value_BNLE.unflatten(0, (before, -1))).flatten(0, 1)


class TextDecoder(nn.Module):
    """Tokens and memory -> logits over the V tokens; the embedding of ``pad``, if given, is zero."""

    def __init__(
        self, config: DecoderConfig, vocab_size: int, memory_width: int, pad: int | None = None, has_video: bool = False
    ) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(vocab_size, config.width, padding_idx=pad)
        self.positions_LD: nn.Parameter | None
        self.register_parameter("positions_LD", None)
        if config.positions is None:
            nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        else:
            nn.init.normal_(self.embedding.weight, std=0.02)
            self.positions_LD = nn.Parameter(torch.zeros(config.positions, config.width))
        if pad is not None:
            nn.init.zeros_(self.embedding.weight[pad])
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(DecoderBlock(config, memory_width, has_video) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.saves_memory = False  # recompute activations in the backward pass

    @property
    def vocab_size(self) -> int:
        return self.embedding.num_embeddings

    def forward(self, tokens_BL: Tensor, memory: Memory) -> Tensor:
        """Return the logits after every token of prompt and text, (B, L, V); ValueError if there are too many."""
        x_BLD = self._embed(tokens_BL, 0)
        causal = _causal(tokens_BL.shape[1], 0, tokens_BL.device)
        for block in self.blocks:
            x_BLD = run_block(block, self.saves_memory, x_BLD, block.project(memory), causal)  # type: ignore[operator]
        return self._logits(x_BLD)

    def start(self, memory: Memory, max_length: int) -> State:
        """Return the state for one hypothesis per utterance, up to ``max_length`` tokens with the prompt."""
        max_length = min(max_length, self.config.positions or max_length)
        shape = (len(memory), self.config.num_heads, max_length, self.config.width // self.config.num_heads)
        keys: list[BlockKeys] = [block.project(memory) for block in self.blocks]  # type: ignore[operator]
        for made in keys:  # every step reads all keys of one head: with strides that takes more than twice as long
            made.memory = made.memory[0].contiguous(), made.memory[1].contiguous()
        new = memory.memory_BTD.new_empty
        return State(keys, [KeyValueCache(new(shape), new(shape)) for _ in self.blocks])

    def step(self, tokens_RL: Tensor, state: State, last_only: bool = True) -> Tensor:
        """Append the prompt or one token per row; return the logits after the last, (R, V), or all, (R, L, V)."""
        before, length = state.length, tokens_RL.shape[1]
        x_RLD = self._embed(tokens_RL, before)
        causal = None if length == 1 else _causal(length, before, tokens_RL.device)
        for block, keys, cache in zip(self.blocks, state.keys, state.caches, strict=True):
            x_RLD = block(x_RLD, keys, causal, cache)
        return self._logits(x_RLD[:, -1] if last_only else x_RLD)

    def _embed(self, tokens_BL: Tensor, first: int) -> Tensor:
        x_BLD, length = self.embedding(tokens_BL), tokens_BL.shape[1]
        if self.positions_LD is None:
            positions_LD = sinusoid_positions(length, self.config.width, FIRST_POSITION + first).to(x_BLD)
        elif first + length <= len(self.positions_LD):
            positions_LD = self.positions_LD[first : first + length]
        else:
            came = f"{first + length} tokens came, this model has {len(self.positions_LD)} positions"
            raise ValueError(f"{came}; shorten the text, or leave long ones out")
        return self.dropout(x_BLD + positions_LD)

    def _logits(self, x_BLD: Tensor) -> Tensor:
        return nn.functional.linear(self.norm(x_BLD), self.embedding.weight)


def _causal(length: int, before: int, device: torch.device) -> Tensor:
    return torch.ones(length, before + length, dtype=torch.bool, device=device).tril(before)
