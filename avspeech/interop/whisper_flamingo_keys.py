"""Keys of Whisper-Flamingo state dicts -> keys of ``Flamingo``, and the sizes that shapes give."""

from collections.abc import Iterable, Mapping
from typing import Literal

from torch import Tensor

from avspeech.interop.avhubert_keys import encoder_keys
from avspeech.interop.state_dicts import tensor_keys
from avspeech.interop.whisper_keys import count_blocks, heads_of, shape_of, whisper_keys
from avspeech.models.encoder import EncoderConfig
from avspeech.models.flamingo import FlamingoConfig
from avspeech.models.frontends import VideoConfig

Variant = Literal["self_supervised", "finetuned"]
_VIDEO = "encoder.video_model."
VIDEO_PREFIX: dict[Variant, str] = {"self_supervised": _VIDEO, "finetuned": f"{_VIDEO}w2v_model."}
"""Prefix of AV-HuBERT's keys: mWhisper-Flamingo's is self-supervised, Whisper-Flamingo's fine-tuned."""
VIDEO_HEADS = {768: 12, 1024: 16}
"""Width -> heads of AV-HuBERT Base and Large."""

_ORDER = (
    "mask_emb", "label_embs_concat", "feature_extractor_audio", "feature_extractor_video", "resnet", "proj",
    "post_extract_proj", "encoder", "pos_conv", "layers", "layer_norm", "final_proj",
    "frontend3D", "trunk", "layer1", "layer2", "layer3", "layer4",
    "conv1", "bn1", "relu1", "relu2", "conv2", "bn2", "downsample",
    "self_attn", "k_proj", "v_proj", "q_proj", "out_proj", "self_attn_layer_norm", "fc1", "fc2", "final_layer_norm",
    "weight", "bias", "running_mean", "running_var", "num_batches_tracked", "weight_g", "weight_v",
)  # fmt: skip
"""Order of AV-HuBERT's keys in official files."""


def flamingo_keys(config: FlamingoConfig, variant: Variant, unused: Iterable[str] = ()) -> dict[str, str]:
    """Return official key -> our key in the official order, without ``model.``; ``unused`` keys map to themselves."""
    keys = tensor_keys({"encoder.video_projection": "video_project"})
    ours = encoder_keys(config.video)
    for theirs in sorted([*ours, *unused], key=_rank):
        keys[VIDEO_PREFIX[variant] + theirs] = f"video_encoder.{ours[theirs]}" if theirs in ours else theirs
    return {"encoder.video_projection_scalar": "video_scale"} | whisper_keys(config.whisper, keys)


def _rank(key: str) -> list[int]:
    return [int(part) if part.isdigit() else _ORDER.index(part) for part in key.split(".")]


def video_sizes(
    state: Mapping[str, Tensor], prefix: str, heads: int | None = None, pre_norm: bool = True
) -> EncoderConfig:
    """Return the sizes of the AV-HuBERT under ``prefix``; ValueError if shapes do not give them.

    ``heads=None`` takes those of the released model of this width; ``pre_norm`` is True for every released one.
    """
    width, audio_features = shape_of(state, f"{prefix}feature_extractor_audio.proj.weight", 2)
    ffn_width, _ = shape_of(state, f"{prefix}encoder.layers.0.fc1.weight", 2)
    _, group_width, kernel = shape_of(state, f"{prefix}encoder.pos_conv.0.weight_v", 3)
    stem_act = f"{prefix}feature_extractor_video.resnet.frontend3D.2.weight"
    return EncoderConfig(
        width=width,
        depth=count_blocks(state, f"{prefix}encoder.layers."),
        num_heads=heads_of(width, heads, "video_heads", VIDEO_HEADS),
        ffn_width=ffn_width,
        pre_norm=pre_norm,
        audio_features=audio_features,
        video=VideoConfig(activation="prelu" if stem_act in state else "relu"),
        fusion="concat" if f"{prefix}post_extract_proj.weight" in state else "add",
        position_kernel=kernel,
        position_groups=max(1, width // group_width),
    )
