"""Official Whisper-Flamingo files, mWhisper too: read them safely, turn them into our models, and write them back.

    python -m avspeech.interop.whisper_flamingo mwhisper_flamingo_small.pt mwhisper_flamingo_small.safetensors
    python -m avspeech.interop.whisper_flamingo mwhisper_flamingo_small.safetensors back.pt

Reads   a file of Rouditchenko et al. 2024 and 2025 (arXiv:2406.10082, arXiv:2502.01547): with video, of either kind
        of AV-HuBERT, or a Whisper fine-tuned on audio alone; what a trainer left beside the weights is not read. Or a
        model file of ours.
Writes  a model file, which is safe to open; or an official file.

The files hold no sizes: shapes show all but the number of heads, which follows from the width of the released models
and can be given for others. Dropout is not in the files either; training starts from the defaults of ``EncoderConfig``.
"""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avspeech.interop.restricted import CheckpointError, read_checkpoint
from avspeech.interop.state_dicts import check_keys, fill, write_checkpoint
from avspeech.interop.whisper import alignment_heads, name_of
from avspeech.interop.whisper_flamingo_keys import (
    UNUSED,
    VIDEO_PREFIX,
    Variant,
    find_variant,
    flamingo_keys,
    video_sizes,
)
from avspeech.interop.whisper_keys import whisper_keys, whisper_sizes
from avspeech.models.cluster_predictor import OFFICIAL_SPECIALS
from avspeech.models.files import load_model, save_model
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.text.whisper_tokens import MULTILINGUAL

PREFIX = "model."
"""What official files put before every key: the trainer's name for the model."""
_UNIT_WIDTH = 256
"""Width of AV-HuBERT's unit embeddings, for a model that has lost them."""


@dataclass
class ImportedWhisper:
    """A model with the weights of an official file, and what else was in it."""

    model: Whisper
    """A ``Flamingo``, or a plain ``Whisper`` where the file has no video."""
    dropped: dict[str, str] = field(default_factory=dict)
    """What of the file is not in the model, and what became of it."""


def load_flamingo(path: str | Path, **options: Any) -> Whisper:
    """Return the model of an official file, in evaluation mode; ``options`` as in ``import_flamingo``."""
    return import_flamingo(path, **options).model


def import_flamingo(
    path: str | Path,
    audio_heads: int | None = None,
    text_heads: int | None = None,
    video_heads: int | None = None,
    video_pre_norm: bool = True,
    official: bool = False,
    content: Any = None,
) -> ImportedWhisper:
    """Read an official file.

    Args:
        path: the ``.pt`` or ``.ckpt`` file.
        audio_heads: attention heads of Whisper's encoder; None: those of the released model of its width.
        text_heads: of its decoder; None: likewise.
        video_heads: of the AV-HuBERT encoder; None: likewise.
        video_pre_norm: whether that encoder normalises before its sub-layers; every released one does.
        official: treat padding and dropped video as the official code does; False: as ``models/flamingo.py`` says.
        content: what ``read_checkpoint`` gave for this file; None reads it.

    Raises:
        CheckpointError: the file is broken, could run code, holds another model, or has keys or sizes that do not fit.
    """
    path = Path(path)
    file = read_checkpoint(path) if content is None else content
    state = _state_dict(file, path)
    try:
        sizes = whisper_sizes(state, audio_heads, text_heads, official_padding=official)
        sizes = replace(sizes, alignment_heads=alignment_heads(sizes, name_of(sizes) or _large(sizes)))
        if any(key.startswith("encoder.video_") or ".gated_x_attn." in key for key in state):
            model = _import_video(state, sizes, video_heads, video_pre_norm, official, path)
        else:
            keys = whisper_keys(sizes)
            check_keys(state, keys, (), path)
            with torch.device("meta"):
                model = Whisper(sizes)
            fill(model, {ours: state[theirs] for theirs, ours in keys.items()}, path)
            model.source = {"model": "whisper_flamingo", "video_model": None}
    except CheckpointError:
        raise
    except (ValueError, ZeroDivisionError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    dropped = dict.fromkeys(model.carried, "kept in the model file for the way back, not read")
    dropped |= {
        str(key): "dropped" for key, value in file.items() if key != "state_dict" and value not in (None, {}, [])
    }
    return ImportedWhisper(model.eval(), dropped)


def _large(sizes: WhisperConfig) -> str | None:
    """Return the name of the large Whisper that these models start from; its sizes are also those of others."""
    return "large-v2" if (sizes.audio_depth, sizes.text_depth, sizes.vocab_size) == (32, 32, MULTILINGUAL) else None


def _state_dict(file: Any, path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file without ``model.``."""
    if not isinstance(file, dict) or not isinstance(file.get("state_dict"), dict):
        found = f"keys {sorted(map(str, file))[:6]}" if isinstance(file, dict) else f"a {type(file).__name__}"
        if isinstance(file, dict) and "dims" in file:
            found += ", OpenAI's layout: import it with python -m avspeech.interop.whisper"
        elif isinstance(file, dict) and "cfg" in file:
            found += ", fairseq's layout: import it with python -m avspeech.interop.avhubert"
        raise CheckpointError(f"{path} holds {found}; wanted Whisper-Flamingo's 'state_dict'")
    state = file["state_dict"]
    if odd := [str(key) for key, value in state.items() if not isinstance(value, Tensor)]:
        raise CheckpointError(f"{path} has something else than tensors in its state dict: {', '.join(odd[:5])}")
    if f"{PREFIX}decoder.positions_LD" in state:
        raise CheckpointError(
            f"{path} is a training checkpoint of ours; wanted an official file; load the model file that the run wrote"
        )
    if odd := [str(key) for key in state if not str(key).startswith(PREFIX)]:
        raise CheckpointError(f"{path} has keys that do not begin with {PREFIX!r}, unknown: {', '.join(odd[:5])}")
    return {key.removeprefix(PREFIX): value for key, value in state.items()}


def _import_video(
    state: dict[str, Tensor], sizes: WhisperConfig, video_heads: int | None, pre_norm: bool, official: bool, path: Path
) -> Flamingo:
    if not any(".gated_x_attn." in key for key in state):
        raise ValueError(
            "it has a video encoder but no gated layers: its streams meet before the decoder (av_fusion is not "
            "'separate'); this import knows gated models"
        )
    variant = find_variant(state)
    prefix = VIDEO_PREFIX[variant]
    video = video_sizes(state, prefix, video_heads, pre_norm)
    if official:  # channels_last only rounds otherwise, see VideoConfig
        video = replace(video, official_padding=True, video=replace(video.video, channels_last=False))
    config = FlamingoConfig(sizes, video, zero_dropped_video=official)
    keys = flamingo_keys(config, variant)
    carried = check_keys(state, keys, [prefix + name for name in UNUSED], path)
    with torch.device("meta"):
        model = Flamingo(config)
    fill(model, {ours: state[theirs] for theirs, ours in keys.items()}, path)
    model.carried = {key: state[key].clone() for key in carried}
    model.source = {"model": "whisper_flamingo", "video_model": variant}
    return model


def export_flamingo(
    model: Whisper, dtype: torch.dtype = torch.float32, variant: Variant | None = None
) -> dict[str, dict[str, Tensor]]:
    """Return an official file, ready for ``torch.save``: one state dict, keys in the official order.

    Args:
        model: a ``Flamingo``, or a plain ``Whisper``, which gives the file of one fine-tuned on audio.
        dtype: of the weights.
        variant: which AV-HuBERT the official code is to look for (it decides by ``ft`` in that model's path); None:
            that of the imported file, else ``self_supervised``. What ours does not have of it is zero.

    Raises:
        ValueError: the model has parts that the official code does not know.
    """
    ours = model.state_dict()
    if not isinstance(model, Flamingo):
        return _official({theirs: ours[name] for theirs, name in whisper_keys(model.sizes).items()}, dtype)
    config, front_end = model.config, model.config.video.video
    if config.video_norm:
        raise ValueError("video_norm=True came; the official model does not normalise the projected lip features")
    if (known := VideoConfig(activation=front_end.activation)) != replace(front_end, channels_last=True):
        raise ValueError(f"video={front_end} came; the official front end is {known}")
    imported: Variant | None = (model.source or {}).get("video_model")
    variant = variant or imported or "self_supervised"
    unused = {key.split("video_model.")[-1].removeprefix("w2v_model."): value for key, value in model.carried.items()}
    if not unused or variant != imported:
        unused = _fillers(config) | unused
        if variant == "finetuned":
            unused = {name: value for name, value in unused.items() if not name.startswith("final_proj")}
    keys = flamingo_keys(config, variant, unused)
    return _official({theirs: ours[name] if name in ours else unused[name] for theirs, name in keys.items()}, dtype)


def _fillers(config: FlamingoConfig) -> dict[str, Tensor]:
    """Return zeros for what official files have and nobody reads."""
    units = torch.zeros(OFFICIAL_SPECIALS, _UNIT_WIDTH)
    project = torch.zeros(_UNIT_WIDTH, config.video.width), torch.zeros(_UNIT_WIDTH)
    return dict(zip(UNUSED, (torch.zeros(config.video.audio_features), units, *project), strict=True))


def _official(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    state = {PREFIX + key: value.detach().cpu() for key, value in state.items()}
    return {
        "state_dict": {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
    }


def describe_model(model: Whisper) -> list[str]:
    """Return lines about a model: sizes and parameters."""
    sizes = model.sizes
    lines = [
        f"audio encoder: {sizes.audio_depth} blocks, width {sizes.audio_width}, {sizes.audio_heads} heads, "
        f"{sizes.mel_bins} mel channels",
        f"decoder: {sizes.text_depth} blocks, width {sizes.text_width}, {sizes.text_heads} heads, "
        f"{sizes.vocab_size} tokens, texts of at most {sizes.text_positions}",
    ]
    if isinstance(model, Flamingo):
        video, kind = model.config.video, (model.source or {}).get("video_model")
        lines.append(
            f"video encoder ({kind or 'of ours'}): {video.depth} blocks, width {video.width}, {video.num_heads} heads, "
            f"ffn {video.ffn_width}"
        )
    else:
        lines.append("no video: a Whisper that was trained on audio alone")
    return [*lines, f"parameters: {sum(parameter.numel() for parameter in model.parameters()):,}"]


def main(
    checkpoint: Path,
    out: Path,
    audio_heads: int | None = None,
    text_heads: int | None = None,
    video_heads: int | None = None,
    variant: Variant | None = None,
    half: bool = False,
) -> None:
    """Import an official file, or write one from a model file of ours.

    Args:
        checkpoint: an official .pt or .ckpt file, or a .safetensors model file of ours for the way back.
        out: the file to write.
        audio_heads: attention heads of Whisper's encoder; null: those of the released model of its width.
        text_heads: of its decoder; null likewise.
        video_heads: of the AV-HuBERT encoder; null likewise.
        variant: on the way back, where the official code looks for AV-HuBERT; null: where the imported file had it.
        half: on the way back, write the weights in fp16.
    """
    try:
        if checkpoint.suffix == ".safetensors":
            model = load_model(checkpoint)
            if not isinstance(model, Whisper):
                sys.exit(f"{checkpoint} holds a {type(model).__name__}; wanted a Flamingo or Whisper model file")
            exported = export_flamingo(model, torch.float16 if half else torch.float32, variant)
            write_checkpoint(out, exported)
            print(f"{len(exported['state_dict'])} tensors in the official layout in {out}")
            return
        if out.suffix != ".safetensors":
            sys.exit(f"{out} came for the model file; give it the ending .safetensors, by which it is known")
        imported = import_flamingo(checkpoint, audio_heads, text_heads, video_heads)
        save_model(out, imported.model)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print("\n".join(describe_model(imported.model)))
    for key, fate in imported.dropped.items():
        print(f"{key}: {fate}")
    print(f"model file: {out}")


if __name__ == "__main__":
    from jsonargparse import auto_cli

    auto_cli(main)
