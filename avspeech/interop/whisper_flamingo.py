"""Official files of Whisper-Flamingo and mWhisper-Flamingo -> our models, and back.

Rouditchenko et al. 2024 and 2025 (arXiv:2406.10082, arXiv:2502.01547). A file is one ``state_dict``, with or without
video. Shapes give all sizes but the number of heads. Dropout is missing: training uses that of ``EncoderConfig``.
"""

import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avspeech.interop.avhubert_keys import UNUSED
from avspeech.interop.state_dicts import Imported, dropped_parts, named_errors, new_model, official_state, read_layout
from avspeech.interop.whisper import alignment_heads, name_of
from avspeech.interop.whisper_flamingo_keys import VIDEO_PREFIX, Variant, flamingo_keys, video_sizes
from avspeech.interop.whisper_keys import whisper_keys, whisper_sizes
from avspeech.models.cluster_predictor import OFFICIAL_SPECIALS
from avspeech.models.files import ModelFileError
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from avspeech.text.whisper_tokens import MULTILINGUAL

PREFIX = "model."
"""Prefix of every official key."""


def load_flamingo(path: str | Path, **options: Any) -> Whisper:
    """Return the model of ``import_flamingo``."""
    return import_flamingo(path, **options).model


def import_flamingo(
    path: str | Path,
    audio_heads: int | None = None,
    text_heads: int | None = None,
    video_heads: int | None = None,
    video_pre_norm: bool = True,
    official: bool = False,
    content: Any = None,
) -> Imported[Whisper]:
    """Read an official ``.pt`` or ``.ckpt`` file: a ``Flamingo``, or a ``Whisper`` if it has no video.

    The heads of Whisper's two halves and of AV-HuBERT are, if None, those of the released model of this width.
    ``video_pre_norm``: AV-HuBERT normalises before its sub-layers, as all released ones do. ``official``: treat padding
    and dropped video as the official code does. ``content`` is of ``read_checkpoint``, None reads the file. Raises
    ModelFileError if the file is broken, unsafe, another model's or does not fit.
    """
    path = Path(path)
    file = read_layout(path, content, "state_dict", (), "Whisper-Flamingo")
    if f"{PREFIX}decoder.positions_LD" in file["state_dict"]:
        raise ModelFileError(f"{path} is a training checkpoint of avspeech; load the model file that the run wrote")
    if odd := [str(key) for key in file["state_dict"] if not str(key).startswith(PREFIX)]:
        raise ModelFileError(f"{path} has keys that do not begin with {PREFIX!r}, unknown: {', '.join(odd[:5])}")
    state = {key.removeprefix(PREFIX): value for key, value in file["state_dict"].items()}
    with named_errors(path):
        sizes = whisper_sizes(state, audio_heads, text_heads, official_padding=official)
        large = (sizes.audio_depth, sizes.text_depth, sizes.vocab_size) == (32, 32, MULTILINGUAL)
        name = "large-v2" if large else name_of(sizes)  # that of these models; large-v1 has the same sizes
        sizes = replace(sizes, alignment_heads=alignment_heads(sizes, name))
        if any(key.startswith("encoder.video_") or ".gated_x_attn." in key for key in state):
            model, variant = _import_video(state, sizes, video_heads, video_pre_norm, official, path)
        else:
            model, variant = new_model(lambda: Whisper(sizes), state, whisper_keys(sizes), path), None
    model.source = {"model": "whisper_flamingo", "video_model": variant}
    if model.lip_encoder is not None:
        model.lip_encoder.crop = "official"
    return Imported(model, dropped_parts(file, ("state_dict",), model))


def _import_video(
    state: dict[str, Tensor], sizes: WhisperConfig, video_heads: int | None, pre_norm: bool, official: bool, path: Path
) -> tuple[Flamingo, Variant]:
    if not any(".gated_x_attn." in key for key in state):
        raise ValueError(
            "it has a video encoder but no gated layers: its streams meet before the decoder (av_fusion is not "
            "'separate'); this import knows gated models"
        )
    wrapped = any(key.startswith(VIDEO_PREFIX["finetuned"]) for key in state)
    variant: Variant = "finetuned" if wrapped else "self_supervised"
    video = video_sizes(state, VIDEO_PREFIX[variant], video_heads, pre_norm)
    if official:  # channels_last only rounds otherwise, see VideoConfig
        video = replace(video, official_padding=True, video=replace(video.video, channels_last=False))
    config = FlamingoConfig(sizes, video, zero_dropped_video=official)
    carry = [VIDEO_PREFIX[variant] + name for name in UNUSED]
    return new_model(lambda: Flamingo(config), state, flamingo_keys(config, variant), path, carry), variant


def export_flamingo(
    model: Whisper, dtype: torch.dtype = torch.float32, variant: Variant | None = None
) -> dict[str, dict[str, Tensor]]:
    """Return an official file for ``torch.save``; ValueError if the official code lacks a part.

    ``variant`` is the kind of AV-HuBERT, officially read from ``ft`` in its path; None: the imported file's,
    else ``self_supervised``. Its weights that our model lacks are zero.
    """
    if isinstance(model, Flamingo):
        state = _video_state(model, dtype, variant)
    else:
        state = official_state(model, whisper_keys(model.sizes), dtype)
    return {"state_dict": {PREFIX + key: value for key, value in state.items()}}


def _video_state(model: Flamingo, dtype: torch.dtype, variant: Variant | None) -> dict[str, Tensor]:
    config, front_end = model.config, model.config.video.video
    if config.video_norm:
        raise ValueError("video_norm=True came; the official model does not normalise the projected lip features")
    if (known := VideoConfig(activation=front_end.activation)) != replace(front_end, channels_last=True):
        raise ValueError(f"video={front_end} came; the official front end is {known}")
    imported: Variant | None = (model.source or {}).get("video_model")
    variant = variant or imported or "self_supervised"
    unused = {key.split("video_model.")[-1].removeprefix("w2v_model."): value for key, value in model.carried.items()}
    if not unused or variant != imported:
        shapes = ((config.video.audio_features,), (OFFICIAL_SPECIALS, 256), (256, config.video.width), (256,))
        unused = {name: torch.zeros(shape) for name, shape in zip(UNUSED, shapes, strict=True)} | unused
        if variant == "finetuned":  # which has no final_proj
            unused = {name: unused[name] for name in UNUSED[:2]}
    return official_state(model, flamingo_keys(config, variant, unused), dtype, unused)


if __name__ == "__main__":
    runpy.run_module("avspeech.interop", run_name="__main__")
