"""The encoder and the decoder give the numbers of the official code, from the same weights.

Tolerance: 1e-5 of each tensor's largest value, in fp32. Padded frames are not compared: the official front end
computes features for padding, ours leaves it out.
"""

import re

import pytest
import torch

from avspeech.models.decoder import DecoderConfig, TextDecoder
from avspeech.models.encoder import AVEncoder, EncoderConfig
from avspeech.objectives.text_loss import next_token_loss

PROJECTIONS = {"q": "query", "k": "key", "v": "value", "o": "out"}
ENCODER_KEYS = [
    (r"feature_extractor_audio\.proj\.", "audio_project."),
    (r"feature_extractor_video\.resnet\.frontend3D\.0\.", "video_frontend.stem."),
    (r"feature_extractor_video\.resnet\.frontend3D\.1\.", "video_frontend.stem_norm."),
    (r"feature_extractor_video\.resnet\.frontend3D\.2\.", "video_frontend.stem_act."),
    (
        r"feature_extractor_video\.resnet\.trunk\.layer(\d)\.(\d)\.",
        lambda m: f"video_frontend.trunk.{2 * int(m[1]) - 2 + int(m[2])}.",
    ),
    (r"\.bn(\d)\.", r".norm\1."),
    (r"\.relu(\d)\.", r".act\1."),
    (r"\.downsample\.", ".shortcut."),
    (r"feature_extractor_video\.proj\.", "video_frontend.project."),
    (r"^layer_norm\.", "fusion.norm."),
    (r"^post_extract_proj\.", "fusion.project."),
    (r"^encoder\.pos_conv\.0\.weight_g", "positions.conv.parametrizations.weight.original0"),
    (r"^encoder\.pos_conv\.0\.weight_v", "positions.conv.parametrizations.weight.original1"),
    (r"^encoder\.pos_conv\.0\.", "positions.conv."),
    (r"^encoder\.layer_norm\.", "norm."),
    (r"^encoder\.layers\.", "blocks."),
    (r"\.self_attn_layer_norm\.", ".attention_norm."),
    (r"\.final_layer_norm\.", ".ffn_norm."),
    (r"\.self_attn\.(\w)\w*_proj\.", lambda m: f".attention.{PROJECTIONS[m[1]]}."),
    (r"\.fc1\.", ".ffn.inner."),
    (r"\.fc2\.", ".ffn.out."),
]
DECODER_KEYS = [
    (r"^embed_tokens\.", "embedding."),
    (r"^layer_norm\.", "norm."),
    (r"^layers\.", "blocks."),
    (r"\.self_attn_layer_norm\.", ".self_attention_norm."),
    (r"\.encoder_attn_layer_norm\.", ".memory_attention_norm."),
    (r"\.final_layer_norm\.", ".ffn_norm."),
    (
        r"\.self_attn\.(\w)\w*_proj\.",
        lambda m: f".self_attention.{PROJECTIONS[m[1]]}.",
    ),
    (
        r"\.encoder_attn\.(\w)\w*_proj\.",
        lambda m: f".memory_attention.{PROJECTIONS[m[1]]}.",
    ),
    (r"\.fc1\.", ".ffn.inner."),
    (r"\.fc2\.", ".ffn.out."),
]
NOT_THE_ENCODER = re.compile(r"^(mask_emb|label_embs_concat|final_proj\.|decoder\.)")


def rename(state, rules, drop):
    renamed = {}
    for key, value in state.items():
        if drop.match(key):
            continue
        for pattern, replacement in rules:
            key = re.sub(pattern, replacement, key)
        renamed[key] = value
    return renamed


def make_encoder(sizes, state):
    config = EncoderConfig(
        width=sizes["encoder_embed_dim"],
        depth=sizes["encoder_layers"],
        num_heads=sizes["encoder_attention_heads"],
        ffn_width=sizes["encoder_ffn_embed_dim"],
        pre_norm=sizes["layer_norm_first"],
        position_kernel=sizes["conv_pos"],
        position_groups=sizes["conv_pos_groups"],
    )
    encoder = AVEncoder(config).eval()
    encoder.load_state_dict(rename(state, ENCODER_KEYS, NOT_THE_ENCODER))
    return encoder


def streams(tensors):
    valid_BT = ~tensors["in.padding_mask"]
    return tensors["in.audio"].transpose(1, 2), tensors["in.video"][:, 0], valid_BT


def assert_same(ours_BTD, theirs_BTD, valid_BT):
    error = (ours_BTD - theirs_BTD)[valid_BT].abs().max() / theirs_BTD[valid_BT].abs().max()
    assert error < 1e-5


@pytest.mark.parametrize("name", ["avhubert_base_tiny", "avhubert_large_tiny"])
@pytest.mark.parametrize("given", ["av", "a", "v"])
@torch.no_grad()
def test_encoder_layers_equal_the_official_ones(official, name, given):
    config, tensors, state = official(name)
    encoder = make_encoder(config["model"], state)
    audio_BTF, video_BTHW, valid_BT = streams(tensors)
    audio_BTF = audio_BTF if "a" in given else None
    video_BTHW = video_BTHW if "v" in given else None
    for layer in range(1, config["model"]["encoder_layers"] + 1):
        ours_BTD = encoder(audio_BTF, video_BTHW, valid_BT, layer=layer)
        assert_same(ours_BTD, tensors[f"{given}.layer{layer}"], valid_BT)
    assert_same(encoder(audio_BTF, video_BTHW, valid_BT), tensors[f"{given}.x"], valid_BT)


@torch.no_grad()
def test_front_ends_and_fusion_equal_the_official_ones(official):
    config, tensors, state = official("avhubert_base_tiny")
    encoder = make_encoder(config["model"], state)
    audio_BTF, video_BTHW, valid_BT = streams(tensors)
    assert_same(encoder.audio_project(audio_BTF), tensors["sub.audio"].transpose(1, 2), valid_BT)
    assert_same(encoder.video_frontend(video_BTHW, valid_BT), tensors["sub.video"].transpose(1, 2), valid_BT)
    fused_BTD = encoder(audio_BTF, video_BTHW, valid_BT, layer=0)
    assert_same(fused_BTD, tensors["av.post_extract_proj"], valid_BT)


@pytest.mark.parametrize("given", ["av", "a", "v"])
@torch.no_grad()
def test_decoder_logits_and_loss_equal_the_official_ones(official, given):
    config, tensors, state = official("avhubert_seq2seq_tiny")
    prefix = "encoder.w2v_model."
    encoder_state = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    encoder = make_encoder(config["w2v_model"], encoder_state)
    sizes = config["model"]
    decoder_state = {key.removeprefix("decoder."): value for key, value in state.items() if key.startswith("decoder.")}
    decoder_state = rename(decoder_state, DECODER_KEYS, re.compile(r"^embed_positions\."))
    decoder = TextDecoder(
        DecoderConfig(
            width=sizes["decoder_embed_dim"],
            depth=sizes["decoder_layers"],
            num_heads=sizes["decoder_attention_heads"],
            ffn_width=sizes["decoder_ffn_embed_dim"],
        ),
        vocab_size=len(decoder_state["embedding.weight"]),
        memory_width=config["w2v_model"]["encoder_embed_dim"],
    ).eval()
    decoder.load_state_dict(decoder_state)
    audio_BTF, video_BTHW, valid_BT = streams(tensors)
    memory_BTD = encoder(audio_BTF if "a" in given else None, video_BTHW if "v" in given else None, valid_BT)
    logits_BLV = decoder(tensors["in.prev_output_tokens"], memory_BTD, valid_BT)
    targets_BL = tensors["in.target"]
    assert_same(logits_BLV, tensors[f"{given}.logits"], targets_BL != 1)
    loss = next_token_loss(logits_BLV, targets_BL.masked_fill(targets_BL == 1, -100), smoothing=0.1) * len(targets_BL)
    torch.testing.assert_close(loss, tensors[f"{given}.label_smoothed_loss_sum"][0], rtol=1e-5, atol=0)
