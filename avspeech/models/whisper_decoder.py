"""Whisper's decoder: tokens so far and a memory -> logits of the next token; with a place for video in every block.

Radford et al. 2023 (arXiv:2212.04356, section 2.2): learned positions, tied embeddings. The gated layers are those of
Whisper-Flamingo (Rouditchenko et al. 2024, arXiv:2406.10082, section 2.2).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avspeech.models.blocks import Attention, FeedForward, KeyValueCache
from avspeech.models.whisper_encoder import WhisperConfig, run_block


@dataclass(frozen=True)
class Memory:
    """What the decoder looks at: the audio at 50 Hz and, where there is any, the video at 25 Hz."""

    audio_BPD: Tensor
    """Encoder output; zero where an utterance has no audio."""
    valid_BP: Tensor | None = None
    """bool, True where it is real; None: all of it is attended."""
    video_BTD: Tensor | None = None
    """Projected lip features; None: the gated layers are left out."""
    video_valid_BT: Tensor | None = None
    """bool, True where a frame is real; None: all of them are attended."""
    has_video_B: Tensor | None = None
    """bool, False leaves the gated layers out for that utterance; None: every one has video."""

    def select(self, rows_B: Tensor) -> "Memory":
        """Return the memory of some utterances, in the order of ``rows_B`` (indices, or a bool for each)."""
        return Memory(*(None if part is None else part[rows_B] for part in self.parts))  # type: ignore[arg-type]

    def repeat(self, times: int) -> "Memory":
        """Return every utterance ``times`` times, one after the other."""
        if times == 1:
            return self
        return Memory(*(None if part is None else part.repeat_interleave(times, dim=0) for part in self.parts))  # type: ignore[arg-type]

    @property
    def parts(self) -> tuple[Tensor | None, ...]:
        """The fields in order."""
        return self.audio_BPD, self.valid_BP, self.video_BTD, self.video_valid_BT, self.has_video_B


class GatedVideo(nn.Module):
    """Attention to the lips and a feed-forward layer, each behind a tanh gate that starts at zero.

    Whisper-Flamingo (arXiv:2406.10082, section 2.2) puts it before self-attention in every decoder block.
    """

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
        """Return (B, L, D), which is ``x_BLD`` itself where ``present_B11`` is False."""
        attended_BLD = self.attention.attend(self.attention_norm(x_BLD), *keys, allowed)
        y_BLD = x_BLD + self.attention_gate.tanh() * attended_BLD
        y_BLD = y_BLD + self.ffn_gate.tanh() * self.ffn(self.ffn_norm(y_BLD))
        return y_BLD if present_B11 is None else torch.where(present_B11, y_BLD, x_BLD)


@dataclass
class BlockMemory:
    """Keys and values that one decoder block attends to, made once per utterance."""

    audio: tuple[Tensor, Tensor]
    audio_allowed: Tensor | None
    video: tuple[Tensor, Tensor] | None
    video_allowed: Tensor | None
    present_B11: Tensor | None


class WhisperDecoderBlock(nn.Module):
    """Video behind gates (optional), causal self-attention, attention to the audio, feed-forward; all pre-norm."""

    def __init__(self, width: int, num_heads: int, has_video: bool) -> None:
        super().__init__()
        self.video = GatedVideo(width, num_heads) if has_video else None
        self.self_attention = Attention(width, num_heads, key_bias=False)
        self.self_attention_norm = nn.LayerNorm(width)
        self.memory_attention = Attention(width, num_heads, key_bias=False)
        self.memory_attention_norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, 4 * width, nn.GELU())
        self.ffn_norm = nn.LayerNorm(width)

    def project(self, memory: Memory) -> BlockMemory:
        """Return this block's keys and values of the memory."""
        video = None
        if self.video is not None and memory.video_BTD is not None:
            video = self.video.attention.project_memory(memory.video_BTD)
        return BlockMemory(
            self.memory_attention.project_memory(memory.audio_BPD),
            None if memory.valid_BP is None else memory.valid_BP[:, None, None],
            video,
            None if memory.video_valid_BT is None else memory.video_valid_BT[:, None, None],
            None if memory.has_video_B is None else memory.has_video_B[:, None, None],
        )

    def forward(
        self, x_BLD: Tensor, memory: BlockMemory, causal: Tensor | None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Return (B, L, D).

        ``x_BLD`` may have several rows an utterance, one after the other: hypotheses of a beam. They share the
        utterance's keys, because a copy for each would be most of what decoding reads and holds.
        """
        # Not len(): that would be a number in an exported graph, and the batch of the example its only one.
        shape, utterances = x_BLD.shape, (memory.audio[0].shape[0], -1, x_BLD.shape[2])
        if self.video is not None and memory.video is not None:
            x_BLD = self.video(x_BLD.reshape(utterances), memory.video, memory.video_allowed, memory.present_B11)
            x_BLD = x_BLD.reshape(shape)
        normed_BLD = self.self_attention_norm(x_BLD)
        key_BNLE, value_BNLE = self.self_attention.project_memory(normed_BLD)
        if cache is not None:
            key_BNLE, value_BNLE = cache.append(key_BNLE, value_BNLE)
        x_BLD = x_BLD + self.self_attention.attend(normed_BLD, key_BNLE, value_BNLE, causal)
        normed_BLD = self.memory_attention_norm(x_BLD).reshape(utterances)
        x_BLD = x_BLD + self.memory_attention.attend(normed_BLD, *memory.audio, memory.audio_allowed).reshape(shape)
        return x_BLD + self.ffn(self.ffn_norm(x_BLD))


class WhisperState:
    """What decoding carries from token to token: keys of the memory and of the tokens so far."""

    def __init__(self, memories: list[BlockMemory], caches: list[KeyValueCache]) -> None:
        self.memories, self.caches = memories, caches
        self.utterances = len(memories[0].audio[0])

    @property
    def length(self) -> int:
        """Tokens decoded so far, the prompt included."""
        return self.caches[0].length

    def reorder(self, rows_B: Tensor) -> None:
        """Make hypothesis i continue the former hypothesis ``rows_B[i]`` of the same utterance."""
        for cache in self.caches:
            cache.reorder(rows_B)

    def repeat(self, times: int) -> None:
        """Let every row become ``times`` rows, one after the other: hypotheses that share what was decoded so far."""
        if times == 1:
            return
        for cache in self.caches:
            cache.key_BNLE = cache.key_BNLE.repeat_interleave(times, dim=0)
            cache.value_BNLE = cache.value_BNLE.repeat_interleave(times, dim=0)

    def keep(self, utterances_B: list[int]) -> None:
        """Forget all but these utterances; in place, since keys of the memory are most of what decoding holds.

        Args:
            utterances_B: which utterance comes to each place; one that moves must come from behind the new end.
        """
        count = len(utterances_B)
        moves = [(place, source) for place, source in enumerate(utterances_B) if place != source]
        assert all(source >= count for _, source in moves), "a row would be overwritten before it is moved"
        device = self.caches[0].key_BNLE.device
        indices = torch.tensor(utterances_B, device=device)
        to, source = torch.tensor(moves, device=device, dtype=torch.long).reshape(-1, 2).unbind(1)

        def move(part: Tensor) -> Tensor:
            if moves:
                part[to] = part[source]
            return part[:count]

        def pick(part: Tensor | None) -> Tensor | None:  # small, and the caller's own
            return None if part is None else part[indices]

        for memory in self.memories:
            memory.audio = move(memory.audio[0]), move(memory.audio[1])
            memory.video = None if memory.video is None else (move(memory.video[0]), move(memory.video[1]))
            memory.audio_allowed, memory.video_allowed = pick(memory.audio_allowed), pick(memory.video_allowed)
            memory.present_B11 = pick(memory.present_B11)
        for cache in self.caches:
            for name in ("key_BNLE", "value_BNLE"):
                rows = getattr(cache, name).unflatten(0, (self.utterances, -1))
                setattr(cache, name, move(rows).flatten(0, 1))
        self.utterances = count


class WhisperDecoder(nn.Module):
    """Tokens and memory -> logits over the vocabulary.

    Args:
        config: sizes.
        has_video: whether the blocks have gated layers for video.
    """

    def __init__(self, config: WhisperConfig, has_video: bool = False) -> None:
        super().__init__()
        self.config = config
        width = config.text_width
        self.embedding = nn.Embedding(config.vocab_size, width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.positions_LD = nn.Parameter(torch.zeros(config.text_positions, width))
        self.blocks = nn.ModuleList(
            WhisperDecoderBlock(width, config.text_heads, has_video) for _ in range(config.text_depth)
        )
        self.norm = nn.LayerNorm(width)
        self.saves_memory = False
        """Compute activations again in the backward pass instead of keeping them."""

    def forward(self, tokens_BL: Tensor, memory: Memory) -> Tensor:
        """Return the logits that follow every token, (B, L, V); all at once, for training.

        Args:
            tokens_BL: int64, prompt and text; padding at the right end may be any token.
            memory: of the same utterances.

        Raises:
            ValueError: the text is longer than the model's positions.
        """
        x_BLD = self._embed(tokens_BL, 0)
        causal = _causal(tokens_BL.shape[1], 0, tokens_BL.device)
        for block in self.blocks:
            x_BLD = run_block(block, self.saves_memory, x_BLD, block.project(memory), causal)  # type: ignore[operator]
        return self._logits(x_BLD)

    def start(self, memory: Memory, max_length: int, beam_size: int = 1) -> WhisperState:
        """Prepare cached decoding of ``beam_size`` hypotheses an utterance, each up to ``max_length`` tokens in all."""
        max_length = min(max_length, self.config.text_positions)
        rows, heads = len(memory.audio_BPD) * beam_size, self.config.text_heads
        shape = (rows, heads, max_length, self.config.text_width // heads)
        memories: list[BlockMemory] = []
        for block in self.blocks:
            keys: BlockMemory = block.project(memory)  # type: ignore[operator]
            # One head's keys side by side: every step reads them all, and strides take more than twice as long.
            keys.audio = keys.audio[0].contiguous(), keys.audio[1].contiguous()
            memories.append(keys)
        new = memory.audio_BPD.new_empty
        return WhisperState(memories, [KeyValueCache(new(shape), new(shape)) for _ in self.blocks])

    def step(self, tokens_BL: Tensor, state: WhisperState, last_only: bool = True) -> Tensor:
        """Feed tokens, remember them in ``state``, and return the logits after the last one, (B, V).

        Args:
            tokens_BL: int64; the whole prompt at first, one token a row after that.
            state: of ``start``.
            last_only: False returns the logits after every token fed, (B, L, V).
        """
        before, length = state.length, tokens_BL.shape[1]
        x_BLD = self._embed(tokens_BL, before)
        causal = None if length == 1 else _causal(length, before, tokens_BL.device)
        for block, memory, cache in zip(self.blocks, state.memories, state.caches, strict=True):
            x_BLD = block(x_BLD, memory, causal, cache)
        return self._logits(x_BLD[:, -1]) if last_only else self._logits(x_BLD)

    def _embed(self, tokens_BL: Tensor, first: int) -> Tensor:
        end = first + tokens_BL.shape[1]
        if end > self.config.text_positions:
            raise ValueError(
                f"{end} tokens came, this model knows {self.config.text_positions} positions; shorten the text, or "
                "leave long ones out"
            )
        return self.embedding(tokens_BL) + self.positions_LD[first:end]

    def _logits(self, x_BLD: Tensor) -> Tensor:
        return F.linear(self.norm(x_BLD), self.embedding.weight)


def _causal(length: int, before: int, device: torch.device) -> Tensor:
    """Return bool (L, before + L), True where a token may look."""
    return torch.ones(length, before + length, dtype=torch.bool, device=device).tril(before)
