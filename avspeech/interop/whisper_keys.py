"""Keys of Whisper state dicts in OpenAI's layout -> our keys, and the sizes that shapes show.

Whisper-Flamingo keeps OpenAI's names and adds its own: ``gated_x_attn``, ``attn_gate``, ``ff``, ``ff_gate``. The order
is that of the official files.
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from avspeech.models.whisper_encoder import WhisperConfig

_LINEAR = ("weight", "bias")
HEADS = {384: 6, 512: 8, 768: 12, 1024: 16, 1280: 20}
"""Attention heads of the released Whisper models by width; shapes do not show them."""


def audio_encoder_keys(config: WhisperConfig) -> dict[str, str]:
    """Return official key -> our key of the audio encoder, without ``encoder.`` on either side."""
    keys = {"positional_embedding": "positions_PD"}
    keys |= _pairs("conv1", "conv1") | _pairs("conv2", "conv2")
    for number in range(config.audio_depth):
        theirs, ours = f"blocks.{number}", f"blocks.{number}"
        keys |= _attention_keys(f"{theirs}.attn", f"{ours}.attention")
        keys |= _feed_forward_keys(f"{theirs}.mlp", f"{ours}.ffn") | _pairs(f"{theirs}.mlp_ln", f"{ours}.ffn_norm")
    return keys | _pairs("ln_post", "norm")


def text_decoder_keys(config: WhisperConfig, has_video: bool = False) -> dict[str, str]:
    """Return official key -> our key of the decoder, without ``decoder.`` on either side."""
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
    """Return the sizes of a Whisper state dict.

    Args:
        state: official keys, beginning with ``encoder.`` or ``decoder.``.
        audio_heads: heads of the encoder; None: those of the released model of this width.
        text_heads: heads of the decoder; None: as ``audio_heads``.
        options: further fields of ``WhisperConfig``.

    Raises:
        ValueError: a tensor that shows a size is missing or has other axes, or no released Whisper has this width.
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
    """Return the shape of a tensor that shows a size.

    Raises:
        ValueError: it is missing, or has another number of axes, or an empty one.
    """
    if key not in state:
        raise ValueError(f"it lacks {key}, which shows a size of the model")
    shape = tuple(state[key].shape)
    if len(shape) != axes or 0 in shape:
        raise ValueError(f"its {key} is {shape}; wanted {axes} axes, none of them empty")
    return shape


def heads_of(width: int, given: int | None, name: str, known: Mapping[int, int]) -> int:
    """Return the given number of heads, or that of the released model of this width.

    Raises:
        ValueError: none was given and no released model has this width.
    """
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
