"""Sizes in official AV-HuBERT configurations <-> our dataclasses."""

from typing import Any

from avspeech.models.cluster_predictor import TEMPERATURE, ClusterPredictor
from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import EncoderConfig
from avspeech.models.frontends import VideoConfig

_ENCODER = {
    "width": "encoder_embed_dim", "depth": "encoder_layers", "num_heads": "encoder_attention_heads",
    "ffn_width": "encoder_ffn_embed_dim", "pre_norm": "layer_norm_first", "audio_features": "audio_feat_dim",
    "fusion": "modality_fuse", "position_kernel": "conv_pos", "position_groups": "conv_pos_groups",
}  # fmt: skip
"""Field of ``EncoderConfig`` -> official name."""
_DROPOUT = {
    "dropout": "dropout", "attention_dropout": "attention_dropout", "activation_dropout": "activation_dropout",
    "input_dropout": "dropout_input", "frontend_grad_scale": "feature_grad_mult",
}  # fmt: skip
"""Fields of ``EncoderConfig`` that fine-tuning sets anew."""
_DECODER = {
    "width": "decoder_embed_dim", "depth": "decoder_layers", "num_heads": "decoder_attention_heads",
    "ffn_width": "decoder_ffn_embed_dim", "dropout": "decoder_dropout",
    "attention_dropout": "decoder_attention_dropout", "activation_dropout": "decoder_activation_dropout",
}  # fmt: skip
"""Field of ``DecoderConfig`` -> official name."""
_DECODER_FLAGS = {
    "decoder_learned_pos": False, "decoder_normalize_before": True, "no_token_positional_embeddings": False,
    "share_decoder_input_output_embed": True, "no_scale_embedding": True,
}  # fmt: skip
"""Settings of the text decoder that every released model has."""
_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "activation_fn": ("gelu",), "sub_encoder_layers": (0,), "target_glu": (False,), "wav_input": (False,),
    "resnet_relu_type": ("prelu", "relu"), "modality_fuse": ("concat", "add"), "masking_type": ("input", "feature"),
    "sim_type": ("cosine", "dot"), "untie_final_proj": (True,),
}  # fmt: skip
_PRETRAINED_DEFAULTS: dict[str, Any] = {
    "encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072, "encoder_attention_heads": 12,
    "dropout": 0.1, "attention_dropout": 0.1, "activation_dropout": 0.0, "dropout_input": 0.0, "encoder_layerdrop": 0.0,
    "final_dim": 0, "untie_final_proj": False, "layer_norm_first": False, "logit_temp": 0.1, "feature_grad_mult": 1.0,
    "conv_pos": 128, "conv_pos_groups": 16, "sim_type": "cosine", "audio_feat_dim": 104, "modality_fuse": "concat",
    "masking_type": "input",
}  # fmt: skip
_FINETUNED_DEFAULTS: dict[str, Any] = {
    **dict.fromkeys([*_DROPOUT.values(), "layerdrop"], 0.0),
    "decoder_dropout": 0.0, "decoder_attention_dropout": 0.0, "decoder_activation_dropout": 0.0,
    "decoder_embed_dim": 768, "decoder_ffn_embed_dim": 3072, "decoder_layers": 6, "decoder_attention_heads": 4,
    "decoder_normalize_before": False, "share_decoder_input_output_embed": False,
}  # fmt: skip


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Return ``cfg.model`` with the official defaults filled in; ValueError for an unsupported setting."""
    tuned = settings.get("_name") == "av_hubert_seq2seq"
    settings = (_FINETUNED_DEFAULTS if tuned else _PRETRAINED_DEFAULTS) | settings
    table = {name: (value,) for name, value in _DECODER_FLAGS.items()} if tuned else _SUPPORTED
    for name, known in table.items():
        value = settings.get(name, known[0])
        if value not in known:
            raise ValueError(f"its {name} is {value!r}; this import knows {', '.join(map(repr, known))}")
    return settings


def encoder_config(sizes: dict[str, Any], tuned: dict[str, Any] | None = None) -> EncoderConfig:
    """Return our sizes from ``cfg.model`` of pre-training; ``tuned`` (fine-tuning) replaces dropout."""
    fields: dict[str, Any] = {name: sizes[official] for name, official in _ENCODER.items()}
    fields |= {name: float((tuned or sizes)[official]) for name, official in _DROPOUT.items()}
    fields["pre_norm"] = bool(fields["pre_norm"])
    fields["layer_drop"] = float(sizes["encoder_layerdrop"] if tuned is None else tuned["layerdrop"])
    return EncoderConfig(**fields, video=VideoConfig(activation=sizes.get("resnet_relu_type", "prelu")))


def decoder_config(tuned: dict[str, Any]) -> DecoderConfig:
    """Return our sizes from ``cfg.model`` of fine-tuning."""
    fields: dict[str, Any] = {name: tuned[official] for name, official in _DECODER.items()}
    fields |= {name: float(value) for name, value in fields.items() if "dropout" in name}
    return DecoderConfig(**fields)


def official_encoder(config: EncoderConfig, model: ClusterPredictor | None) -> dict[str, Any]:
    """Return ``cfg.model`` of pre-training, or of an encoder alone; ValueError for another video front end."""
    video = config.video
    if video != VideoConfig(activation=video.activation):
        raise ValueError(f"video={video} came; the official front end is {VideoConfig()}")
    head = None if model is None else model.head
    return {
        "_name": "av_hubert",
        **{official: getattr(config, name) for name, official in (_ENCODER | _DROPOUT).items()},
        "encoder_layerdrop": config.layer_drop,
        "resnet_relu_type": video.activation,
        "activation_fn": "gelu",
        "sub_encoder_layers": 0,
        "untie_final_proj": True,
        "final_dim": 256 if head is None else head.unit_width,
        "logit_temp": TEMPERATURE if head is None else head.temperature,
        "sim_type": "cosine" if head is None else head.similarity,
        "masking_type": "feature" if model is not None and model.mask_features else "input",
    }


def official_decoder(encoder: EncoderConfig, config: DecoderConfig) -> dict[str, Any]:
    """Return ``cfg.model`` of fine-tuning, without ``w2v_args``."""
    return {
        "_name": "av_hubert_seq2seq",
        **{official: getattr(encoder, name) for name, official in _DROPOUT.items()},
        "layerdrop": encoder.layer_drop,
        **{official: getattr(config, name) for name, official in _DECODER.items()},
        **_DECODER_FLAGS,
    }
