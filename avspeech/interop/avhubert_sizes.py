"""Sizes: official AV-HuBERT configuration -> our dataclasses, and back; settings that we do not build are refused."""

from typing import Any

from avspeech.models.cluster_predictor import TEMPERATURE, ClusterPredictor
from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import EncoderConfig
from avspeech.models.frontends import VideoConfig

_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "activation_fn": ("gelu",),
    "sub_encoder_layers": (0,),
    "target_glu": (False,),
    "wav_input": (False,),
    "resnet_relu_type": ("prelu", "relu"),
    "modality_fuse": ("concat", "add"),
    "masking_type": ("input", "feature"),
    "sim_type": ("cosine", "dot"),
    "untie_final_proj": (True,),
}
_SUPPORTED_DECODER: dict[str, tuple[Any, ...]] = {
    "decoder_learned_pos": (False,),
    "decoder_normalize_before": (True,),
    "no_token_positional_embeddings": (False,),
    "share_decoder_input_output_embed": (True,),
    "no_scale_embedding": (True,),
}


_PRETRAINED_DEFAULTS: dict[str, Any] = {
    "encoder_layers": 12,
    "encoder_embed_dim": 768,
    "encoder_ffn_embed_dim": 3072,
    "encoder_attention_heads": 12,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "encoder_layerdrop": 0.0,
    "final_dim": 0,
    "untie_final_proj": False,
    "layer_norm_first": False,
    "logit_temp": 0.1,
    "feature_grad_mult": 1.0,
    "conv_pos": 128,
    "conv_pos_groups": 16,
    "sim_type": "cosine",
    "audio_feat_dim": 104,
    "modality_fuse": "concat",
    "masking_type": "input",
}
_FINETUNED_DEFAULTS: dict[str, Any] = {
    "dropout": 0.0,
    "attention_dropout": 0.0,
    "activation_dropout": 0.0,
    "dropout_input": 0.0,
    "layerdrop": 0.0,
    "feature_grad_mult": 0.0,
    "decoder_embed_dim": 768,
    "decoder_ffn_embed_dim": 3072,
    "decoder_layers": 6,
    "decoder_attention_heads": 4,
    "decoder_dropout": 0.0,
    "decoder_attention_dropout": 0.0,
    "decoder_activation_dropout": 0.0,
    "decoder_normalize_before": False,
    "share_decoder_input_output_embed": False,
}


def complete(settings: dict[str, Any]) -> dict[str, Any]:
    """Return ``cfg.model`` with what it leaves out filled in, as the official loader fills it from its own defaults."""
    tuned = settings.get("_name") == "av_hubert_seq2seq"
    return (_FINETUNED_DEFAULTS if tuned else _PRETRAINED_DEFAULTS) | settings


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse a configuration that asks for what we do not build.

    Args:
        settings: ``cfg.model`` of a pre-trained model, or of a fine-tuned one.

    Raises:
        ValueError: names the setting, its value and what is known.
    """
    tuned = settings.get("_name") == "av_hubert_seq2seq"
    for name, known in (_SUPPORTED_DECODER if tuned else _SUPPORTED).items():
        value = settings.get(name, known[0])
        if value not in known:
            raise ValueError(f"its {name} is {value!r}; this import knows {', '.join(map(repr, known))}")


def encoder_config(sizes: dict[str, Any], tuned: dict[str, Any] | None = None) -> EncoderConfig:
    """Return our sizes.

    Args:
        sizes: ``cfg.model`` of the pre-training.
        tuned: ``cfg.model`` of the fine-tuning, whose dropout replaces that of the pre-training.
    """
    chosen = tuned if tuned is not None else sizes
    layer_drop = tuned["layerdrop"] if tuned is not None else sizes["encoder_layerdrop"]
    return EncoderConfig(
        width=sizes["encoder_embed_dim"],
        depth=sizes["encoder_layers"],
        num_heads=sizes["encoder_attention_heads"],
        ffn_width=sizes["encoder_ffn_embed_dim"],
        pre_norm=bool(sizes["layer_norm_first"]),
        audio_features=sizes["audio_feat_dim"],
        video=VideoConfig(activation=sizes.get("resnet_relu_type", "prelu")),
        fusion=sizes["modality_fuse"],
        position_kernel=sizes["conv_pos"],
        position_groups=sizes["conv_pos_groups"],
        dropout=float(chosen["dropout"]),
        attention_dropout=float(chosen["attention_dropout"]),
        activation_dropout=float(chosen["activation_dropout"]),
        input_dropout=float(chosen["dropout_input"]),
        layer_drop=float(layer_drop),
        frontend_grad_scale=float(chosen["feature_grad_mult"]),
    )


def decoder_config(tuned: dict[str, Any]) -> DecoderConfig:
    """Return our sizes of the text decoder from ``cfg.model`` of the fine-tuning."""
    return DecoderConfig(
        width=tuned["decoder_embed_dim"],
        depth=tuned["decoder_layers"],
        num_heads=tuned["decoder_attention_heads"],
        ffn_width=tuned["decoder_ffn_embed_dim"],
        dropout=float(tuned["decoder_dropout"]),
        attention_dropout=float(tuned["decoder_attention_dropout"]),
        activation_dropout=float(tuned["decoder_activation_dropout"]),
    )


def official_encoder(config: EncoderConfig, model: ClusterPredictor | None) -> dict[str, Any]:
    """Return ``cfg.model`` of a pre-trained model; None stands for an encoder whose heads are gone.

    Raises:
        ValueError: the lip front end is another than the official one.
    """
    video = config.video
    if video != VideoConfig(activation=video.activation):
        raise ValueError(f"video={video} came; the official front end is {VideoConfig()}")
    mask_features = model is not None and model.mask_features
    return {
        "_name": "av_hubert",
        "encoder_layers": config.depth,
        "encoder_embed_dim": config.width,
        "encoder_ffn_embed_dim": config.ffn_width,
        "encoder_attention_heads": config.num_heads,
        "activation_fn": "gelu",
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "activation_dropout": config.activation_dropout,
        "encoder_layerdrop": config.layer_drop,
        "dropout_input": config.input_dropout,
        "final_dim": 256 if model is None else model.head.unit_width,
        "untie_final_proj": True,
        "layer_norm_first": config.pre_norm,
        "logit_temp": TEMPERATURE if model is None else model.head.temperature,
        "feature_grad_mult": config.frontend_grad_scale,
        "conv_pos": config.position_kernel,
        "conv_pos_groups": config.position_groups,
        "resnet_relu_type": video.activation,
        "sim_type": "cosine" if model is None else model.head.similarity,
        "sub_encoder_layers": 0,
        "audio_feat_dim": config.audio_features,
        "modality_fuse": config.fusion,
        "masking_type": "feature" if mask_features else "input",
    }


def official_decoder(encoder: EncoderConfig, config: DecoderConfig) -> dict[str, Any]:
    """Return ``cfg.model`` of a fine-tuned model, without ``w2v_args``."""
    return {
        "_name": "av_hubert_seq2seq",
        "dropout": encoder.dropout,
        "attention_dropout": encoder.attention_dropout,
        "activation_dropout": encoder.activation_dropout,
        "dropout_input": encoder.input_dropout,
        "layerdrop": encoder.layer_drop,
        "feature_grad_mult": encoder.frontend_grad_scale,
        "decoder_embed_dim": config.width,
        "decoder_ffn_embed_dim": config.ffn_width,
        "decoder_layers": config.depth,
        "decoder_attention_heads": config.num_heads,
        "decoder_dropout": config.dropout,
        "decoder_attention_dropout": config.attention_dropout,
        "decoder_activation_dropout": config.activation_dropout,
        "decoder_learned_pos": False,
        "decoder_normalize_before": True,
        "no_token_positional_embeddings": False,
        "share_decoder_input_output_embed": True,
        "no_scale_embedding": True,
    }
