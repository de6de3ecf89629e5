"""Keys of official AV-HuBERT state dicts (Shi et al. 2022, arXiv:2201.02184; fairseq) -> our keys."""

from avspeech.interop.state_dicts import tensor_keys
from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import EncoderConfig

WRAPPER = "encoder.w2v_model."
"""Prefix of the encoder's keys in fine-tuned files."""
UNUSED = ("mask_emb", "label_embs_concat", "final_proj.weight", "final_proj.bias")
"""Weights of the encoder that only pre-training uses."""
UNUSED_BY_RECOGNIZERS = (*(WRAPPER + name for name in UNUSED), "decoder.embed_positions._float_tensor")
"""Keys of fine-tuned files that only export needs."""
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_FFN = {"fc1": "ffn.inner", "fc2": "ffn.out", "final_layer_norm": "ffn_norm"}


def _attention(theirs: str, ours: str) -> dict[str, str]:
    parts = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "out_proj": "out"}
    keys = {f"{theirs}.{their_part}": f"{ours}.{our_part}" for their_part, our_part in parts.items()}
    return keys | {f"{theirs}_layer_norm": f"{ours}_norm"}


_ENCODER_BLOCK = _attention("self_attn", "attention") | _FFN
_DECODER_BLOCK = _attention("self_attn", "self_attention") | _attention("encoder_attn", "memory_attention") | _FFN


def encoder_keys(config: EncoderConfig) -> dict[str, str]:
    """Return official key -> our key, without outer prefixes."""
    keys = tensor_keys({"feature_extractor_audio.proj": "audio_project"}) | _frontend_keys(config)
    keys |= tensor_keys({"feature_extractor_video.proj": "video_frontend.project", "layer_norm": "fusion.norm"})
    if config.fusion == "concat":
        keys |= tensor_keys({"post_extract_proj": "fusion.project"})
    keys |= {
        "encoder.pos_conv.0.bias": "positions.conv.bias",
        "encoder.pos_conv.0.weight_g": "positions.conv.parametrizations.weight.original0",
        "encoder.pos_conv.0.weight_v": "positions.conv.parametrizations.weight.original1",
    }
    keys |= tensor_keys({"encoder.layer_norm": "norm"})
    for number in range(config.depth):
        keys |= tensor_keys(_ENCODER_BLOCK, f"encoder.layers.{number}.", f"blocks.{number}.")
    return keys


def _frontend_keys(config: EncoderConfig) -> dict[str, str]:
    stem, trunk = "feature_extractor_video.resnet.frontend3D", "feature_extractor_video.resnet.trunk"
    prelu = config.video.activation == "prelu"
    parts = {f"{stem}.0": "stem", f"{stem}.1": "stem_norm"} | ({f"{stem}.2": "stem_act"} if prelu else {})
    place, in_width = 0, config.video.stem_width
    for stage, (width, blocks) in enumerate(zip(config.video.widths, config.video.blocks, strict=True), start=1):
        for block in range(blocks):
            theirs, ours = f"{trunk}.layer{stage}.{block}", f"trunk.{place}"
            for part in (1, 2):
                parts |= {f"{theirs}.conv{part}": f"{ours}.conv{part}", f"{theirs}.bn{part}": f"{ours}.norm{part}"}
                if prelu:
                    parts[f"{theirs}.relu{part}"] = f"{ours}.act{part}"
            if block == 0 and (stage > 1 or in_width != width):
                parts |= {f"{theirs}.downsample.{part}": f"{ours}.shortcut.{part}" for part in (0, 1)}
            place, in_width = place + 1, width
    keys: dict[str, str] = {}
    for theirs, ours in parts.items():
        names = _BATCH_NORM if "norm" in ours or ours.endswith("shortcut.1") else ("weight",)
        keys |= tensor_keys({theirs: f"video_frontend.{ours}"}, names=names)
    return keys


def predictor_keys(config: EncoderConfig) -> dict[str, str]:
    """Return official key -> our key of a pre-trained model."""
    keys = {theirs: f"encoder.{ours}" for theirs, ours in encoder_keys(config).items()}
    keys |= {"mask_emb": "mask_embedding", "label_embs_concat": "unit_head.embedding"}
    return keys | tensor_keys({"final_proj": "unit_head.project"})


def recognizer_keys(encoder: EncoderConfig, decoder: DecoderConfig) -> dict[str, str]:
    """Return official key -> our key of a fine-tuned model."""
    keys = {WRAPPER + theirs: f"encoder.{ours}" for theirs, ours in encoder_keys(encoder).items()}
    keys["decoder.embed_tokens.weight"] = "decoder.embedding.weight"
    keys |= tensor_keys({"decoder.layer_norm": "decoder.norm"})
    for number in range(decoder.depth):
        keys |= tensor_keys(_DECODER_BLOCK, f"decoder.layers.{number}.", f"decoder.blocks.{number}.")
    return keys
