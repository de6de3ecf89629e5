"""Keys of Whisper state dicts in OpenAI's order -> our keys, and the sizes that shapes give.

Whisper-Flamingo adds ``gated_x_attn``, ``attn_gate``, ``ff`` and ``ff_gate``.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from avspeech.interop.state_dicts import tensor_keys
from avspeech.models.whisper_encoder import WhisperConfig

HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1280: 20}
"""Width -> heads of the released Whisper models."""
_FFN = {"mlp.0": "ffn.inner", "mlp.2": "ffn.out", "mlp_ln": "ffn_norm"}


def _attention(theirs: str, ours: str) -> dict[str, str]:
    keys = {f"{theirs}.{part}": f"{ours}.{part}" for part in ("query", "key", "value", "out")}
    return keys | {f"{theirs}_ln": f"{ours}_norm"}


_ENCODER_BLOCK = _attention("attn", "attention") | _FFN
_DECODER_BLOCK = _attention("attn", "self_attention") | _attention("cross_attn", "memory_attention") | _FFN
_GATED_BLOCK = _attention("gated_x_attn", "video.attention")
_GATED_BLOCK |= {"ff_ln": "video.ffn_norm", "ff.0": "video.ffn.inner", "ff.2": "video.ffn.out"}


def whisper_keys(config: WhisperConfig, video: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return official key -> our key; ``video`` holds those of a Flamingo's video encoder, None: a plain Whisper."""
    keys = {"encoder.positional_embedding": "encoder.positions_PD"}
    keys |= tensor_keys({"conv1": "conv1", "conv2": "conv2"}, "encoder.", "encoder.")
    for number in range(config.audio_depth):
        keys |= tensor_keys(_ENCODER_BLOCK, block := f"encoder.blocks.{number}.", block)
    keys |= tensor_keys({"encoder.ln_post": "encoder.norm"}) | dict(video or {})
    keys["decoder.positional_embedding"] = "decoder.positions_LD"
    keys["decoder.token_embedding.weight"] = "decoder.embedding.weight"
    for number in range(config.text_depth):
        block = f"decoder.blocks.{number}."
        if video is not None:
            keys |= {f"{block}attn_gate": f"{block}video.attention_gate", f"{block}ff_gate": f"{block}video.ffn_gate"}
        keys |= tensor_keys(_DECODER_BLOCK if video is None else _DECODER_BLOCK | _GATED_BLOCK, block, block)
    keys |= tensor_keys({"decoder.ln": "decoder.norm"})
    return {theirs: ours for theirs, ours in keys.items() if not theirs.endswith(".key.bias")}  # Whisper has none


def whisper_sizes(
    state: Mapping[str, Tensor], audio_heads: int | None = None, text_heads: int | None = None, **options: Any
) -> WhisperConfig:
    """Return the sizes of a Whisper state dict; ValueError if shapes do not give them.

    Heads of None are those of the released model of this width; ``options`` are further fields of ``WhisperConfig``.
    """
    _, mel_bins, _ = shape_of(state, "encoder.conv1.weight", 3)
    audio_positions, audio_width = shape_of(state, "encoder.positional_embedding", 2)
    vocab_size, _ = shape_of(state, "decoder.token_embedding.weight", 2)
    text_positions, text_width = shape_of(state, "decoder.positional_embedding", 2)
    return WhisperConfig(
        mel_bins=mel_bins,
        audio_positions=audio_positions,
        audio_width=audio_width,
        audio_heads=heads_of(audio_width, audio_heads, "audio_heads", HEADS),
        audio_depth=count_blocks(state, "encoder.blocks."),
        vocab_size=vocab_size,
        text_positions=text_positions,
        text_width=text_width,
        text_heads=heads_of(text_width, text_heads, "text_heads", HEADS),
        text_depth=count_blocks(state, "decoder.blocks."),
        **options,
    )


def shape_of(state: Mapping[str, Tensor], key: str, axes: int) -> tuple[int, ...]:
    """Return a tensor's shape; ValueError unless it has ``axes`` axes, none empty."""
    if key not in state:
        raise ValueError(f"it lacks {key}, which shows a size of the model")
    shape = tuple(state[key].shape)
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"its {key} is {shape}; wanted {axes} axes, none of them empty")
    return shape


def heads_of(width: int, given: int | None, name: str, known: Mapping[int, int]) -> int:
    """Return the given number of heads, else the released model's; ValueError if there is none."""
    if given is not None and given < 1:
        raise ValueError(f"{name}={given} came; it must be at least 1")
    if given is None and width not in known:
        raise ValueError(
            f"its width {width} is none of the released models' ({', '.join(map(str, known))}) and weights do not show "
            f"their number of heads; give {name}"
        )
    return known[width] if given is None else given


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Return the number of blocks whose keys begin with ``prefix``."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})
