"""Keys of official AV-HuBERT state dicts (Shi et al. 2022, arXiv:2201.02184; fairseq) -> our keys."""

from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import EncoderConfig

_PROJECTIONS = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}
_LINEAR = ("weight", "bias")
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
WRAPPER = "encoder.w2v_model."
"""Prefix of the encoder's keys in fine-tuned files."""


def encoder_keys(config: EncoderConfig) -> dict[str, str]:
    """Return official key -> our key, without outer prefixes."""
    keys = _pairs("feature_extractor_audio.proj", "audio_project", _LINEAR)
    keys |= _frontend_keys(config)
    keys |= _pairs("feature_extractor_video.proj", "video_frontend.project", _LINEAR)
    keys |= _pairs("layer_norm", "fusion.norm", _LINEAR)
    if config.fusion == "concat":
        keys |= _pairs("post_extract_proj", "fusion.project", _LINEAR)
    keys |= {
        "encoder.pos_conv.0.bias": "positions.conv.bias",
        "encoder.pos_conv.0.weight_g": "positions.conv.parametrizations.weight.original0",
        "encoder.pos_conv.0.weight_v": "positions.conv.parametrizations.weight.original1",
    }
    keys |= _pairs("encoder.layer_norm", "norm", _LINEAR)
    for number in range(config.depth):
        theirs, ours = f"encoder.layers.{number}", f"blocks.{number}"
        keys |= _attention_keys(f"{theirs}.self_attn", f"{ours}.attention")
        keys |= _feed_forward_keys(theirs, ours)
    return keys


def _frontend_keys(config: EncoderConfig) -> dict[str, str]:
    stem, trunk = "feature_extractor_video.resnet.frontend3D", "feature_extractor_video.resnet.trunk"
    prelu = config.video.activation == "prelu"
    keys = _pairs(f"{stem}.0", "video_frontend.stem", ("weight",))
    keys |= _pairs(f"{stem}.1", "video_frontend.stem_norm", _BATCH_NORM)
    if prelu:
        keys |= _pairs(f"{stem}.2", "video_frontend.stem_act", ("weight",))
    place, in_width = 0, config.video.stem_width
    for stage, (width, blocks) in enumerate(zip(config.video.widths, config.video.blocks, strict=True), start=1):
        for block in range(blocks):
            theirs, ours = f"{trunk}.layer{stage}.{block}", f"video_frontend.trunk.{place}"
            for part in (1, 2):
                keys |= _pairs(f"{theirs}.conv{part}", f"{ours}.conv{part}", ("weight",))
                keys |= _pairs(f"{theirs}.bn{part}", f"{ours}.norm{part}", _BATCH_NORM)
                if prelu:
                    keys |= _pairs(f"{theirs}.relu{part}", f"{ours}.act{part}", ("weight",))
            if block == 0 and (stage > 1 or in_width != width):
                keys |= _pairs(f"{theirs}.downsample.0", f"{ours}.shortcut.0", ("weight",))
                keys |= _pairs(f"{theirs}.downsample.1", f"{ours}.shortcut.1", _BATCH_NORM)
            place, in_width = place + 1, width
    return keys


def decoder_keys(config: DecoderConfig) -> dict[str, str]:
    """Return official key -> our key, without ``decoder.`` on either side."""
    keys = {"embed_tokens.weight": "embedding.weight"} | _pairs("layer_norm", "norm", _LINEAR)
    for number in range(config.depth):
        theirs, ours = f"layers.{number}", f"blocks.{number}"
        keys |= _attention_keys(f"{theirs}.self_attn", f"{ours}.self_attention")
        keys |= _attention_keys(f"{theirs}.encoder_attn", f"{ours}.memory_attention")
        keys |= _feed_forward_keys(theirs, ours)
    return keys


def predictor_keys(config: EncoderConfig) -> dict[str, str]:
    """Return official key -> our key of a pre-trained model."""
    keys = {theirs: f"encoder.{ours}" for theirs, ours in encoder_keys(config).items()}
    keys |= {"mask_emb": "mask_embedding", "label_embs_concat": "unit_head.embedding"}
    return keys | _pairs("final_proj", "unit_head.project", _LINEAR)


def recognizer_keys(encoder: EncoderConfig, decoder: DecoderConfig) -> dict[str, str]:
    """Return official key -> our key of a fine-tuned model."""
    keys = {WRAPPER + theirs: f"encoder.{ours}" for theirs, ours in encoder_keys(encoder).items()}
    return keys | {f"decoder.{theirs}": f"decoder.{ours}" for theirs, ours in decoder_keys(decoder).items()}


UNUSED_BY_RECOGNIZERS = (
    f"{WRAPPER}mask_emb",
    f"{WRAPPER}label_embs_concat",
    f"{WRAPPER}final_proj.weight",
    f"{WRAPPER}final_proj.bias",
    "decoder.embed_positions._float_tensor",
)
"""Keys of fine-tuned files that only export needs."""


def _attention_keys(theirs: str, ours: str) -> dict[str, str]:
    keys = {}
    for their_part, our_part in _PROJECTIONS.items():
        keys |= _pairs(f"{theirs}.{their_part}", f"{ours}.{our_part}", _LINEAR)
    return keys | _pairs(f"{theirs}_layer_norm", f"{ours}_norm", _LINEAR)


def _feed_forward_keys(theirs: str, ours: str) -> dict[str, str]:
    keys = _pairs(f"{theirs}.fc1", f"{ours}.ffn.inner", _LINEAR)
    keys |= _pairs(f"{theirs}.fc2", f"{ours}.ffn.out", _LINEAR)
    return keys | _pairs(f"{theirs}.final_layer_norm", f"{ours}.ffn_norm", _LINEAR)


def _pairs(theirs: str, ours: str, names: tuple[str, ...]) -> dict[str, str]:
    return {f"{theirs}.{name}": f"{ours}.{name}" for name in names}
