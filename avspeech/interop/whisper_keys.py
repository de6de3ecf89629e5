"""Keys of Whisper state dicts in OpenAI's order -> our keys, and the sizes that shapes give.

Whisper-Flamingo adds ``gated_x_attn``, ``attn_gate``, ``ff`` and ``ff_gate``.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from avspeech.models.whisper_encoder import WhisperConfig

_LINEAR = ("weight", "bias")
HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1280: 20}
"""Width -> heads of the released Whisper models."""


def audio_encoder_keys(config: WhisperConfig) -> dict[str, str]:
    """Return official key -> our key, without ``encoder.``."""
    keys = {"positional_embedding": "positions_PD"}
    keys |= _pairs("conv1", "conv1") | _pairs("conv2", "conv2")
    for number in range(config.audio_depth):
        theirs, ours = f"blocks.{number}", f"blocks.{number}"
        keys |= _attention_keys(f"{theirs}.attn", f"{ours}.attention")
        keys |= _feed_forward_keys(f"{theirs}.mlp", f"{ours}.ffn") | _pairs(f"{theirs}.mlp_ln", f"{ours}.ffn_norm")
    return keys | _pairs("ln_post", "norm")


def text_decoder_keys(config: WhisperConfig, has_video: bool = False) -> dict[str, str]:
    """Return official key -> our key, without ``decoder.``."""
    keys = {"positional_embedding": "positions_LD", "token_embedding.weight": "embedding.weight"}
    for number in range(config.text_depth):
        block = f"blocks.{number}"
        if has_video:
            keys |= {f"{block}.attn_gate": f"{block}.video.attention_gate"}
            keys |= {f"{block}.ff_gate": f"{block}.video.ffn_gate"}
        keys |= _attention_keys(f"{block}.attn", f"{block}.self_attention")
        keys |= _attention_keys(f"{block}.cross_attn", f"{block}.memory_attention")
        keys |= _feed_forward_keys(f"{block}.mlp", f"{block}.ffn") | _pairs(f"{block}.mlp_ln", f"{block}.ffn_norm")
        if has_video:
            keys |= _attention_keys(f"{block}.gated_x_attn", f"{block}.video.attention")
            keys |= _pairs(f"{block}.ff_ln", f"{block}.video.ffn_norm")
            keys |= _feed_forward_keys(f"{block}.ff", f"{block}.video.ffn")
    return keys | _pairs("ln", "norm")


def whisper_keys(config: WhisperConfig) -> dict[str, str]:
    """Return official key -> our key of a plain Whisper."""
    keys = {f"encoder.{theirs}": f"encoder.{ours}" for theirs, ours in audio_encoder_keys(config).items()}
    return keys | {f"decoder.{theirs}": f"decoder.{ours}" for theirs, ours in text_decoder_keys(config).items()}


def whisper_sizes(
    state: Mapping[str, Tensor],
    audio_heads: int | None = None,
    text_heads: int | None = None,
    **options: Any,
) -> WhisperConfig:
    """Return the sizes of a Whisper state dict; ValueError if shapes do not give them.

    ``audio_heads=None`` is the released model's, ``text_heads=None`` is ``audio_heads``; ``options`` are
    further fields of ``WhisperConfig``.
    """
    conv, audio = shape_of(state, "encoder.conv1.weight", 3), shape_of(state, "encoder.positional_embedding", 2)
    vocabulary = shape_of(state, "decoder.token_embedding.weight", 2)
    text = shape_of(state, "decoder.positional_embedding", 2)
    return WhisperConfig(
        mel_bins=conv[1],
        audio_positions=audio[0],
        audio_width=audio[1],
        audio_heads=heads_of(audio[1], audio_heads, "audio_heads", HEADS),
        audio_depth=count_blocks(state, "encoder.blocks."),
        vocab_size=vocabulary[0],
        text_positions=text[0],
        text_width=text[1],
        text_heads=heads_of(text[1], text_heads, "text_heads", HEADS),
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
    if given is not None:
        if given < 1:
            raise ValueError(f"{name}={given} came; it must be at least 1")
        return given
    if width not in known:
        raise ValueError(
            f"its width {width} is none of the released models' ({', '.join(map(str, known))}) and weights do not show "
            f"their number of heads; give {name}"
        )
    return known[width]


def count_blocks(state: Mapping[str, Tensor], prefix: str) -> int:
    """Return the number of blocks whose keys begin with ``prefix``."""
    return len({key[len(prefix) :].split(".")[0] for key in state if key.startswith(prefix)})


def _attention_keys(theirs: str, ours: str) -> dict[str, str]:
    keys = _pairs(f"{theirs}.query", f"{ours}.query") | _pairs(f"{theirs}.key", f"{ours}.key", ("weight",))
    keys |= _pairs(f"{theirs}.value", f"{ours}.value") | _pairs(f"{theirs}.out", f"{ours}.out")
    return keys | _pairs(f"{theirs}_ln", f"{ours}_norm")


def _feed_forward_keys(theirs: str, ours: str) -> dict[str, str]:
    return _pairs(f"{theirs}.0", f"{ours}.inner") | _pairs(f"{theirs}.2", f"{ours}.out")


def _pairs(theirs: str, ours: str, names: tuple[str, ...] = _LINEAR) -> dict[str, str]:
    return {f"{theirs}.{name}": f"{ours}.{name}" for name in names}
