"""Whisper-Flamingo files in and out: every key has its place and its order, and what does not fit is named."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from avspeech.interop.whisper_flamingo import export_flamingo, import_flamingo, load_flamingo
from avspeech.interop.whisper_flamingo_keys import flamingo_keys
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import load_model, save_model
from avspeech.models.flamingo import Flamingo, FlamingoConfig
from avspeech.models.frontends import VideoConfig
from avspeech.models.whisper import Whisper
from avspeech.models.whisper_encoder import WhisperConfig
from tests.interop.official import randomize, refused, replaced, same_tensors
from tests.interop.test_restricted import Hostile
from tests.models.tiny_whisper import SIZES

LIPS = EncoderConfig(width=24, depth=2, num_heads=3, ffn_width=40, position_groups=4)
CONFIG = FlamingoConfig(SIZES, LIPS)
HEADS = {"audio_heads": 4, "text_heads": 4, "video_heads": 3}
KEYS = ("width", "heads", "depth")
UNREAD = ("mask_emb", "label_embs_concat", "final_proj.weight", "final_proj.bias")


def make(config=CONFIG, variant="self_supervised"):
    torch.manual_seed(5)
    model = randomize(Flamingo(config))
    official = export_flamingo(model, variant=variant)
    for key, value in official["state_dict"].items():
        if key.endswith(UNREAD):
            value.normal_()
    return model, official


@pytest.fixture(scope="module")
def light():
    state = make()[1]["state_dict"]  # large tensors become one number, for tests that look at names
    return {key: one if one.numel() < 10_000 else one[:1].sum().expand(one.shape) for key, one in state.items()}


def same_file(one, other):
    assert list(one["state_dict"]) == list(other["state_dict"])
    same_tensors(one["state_dict"], other["state_dict"])


@pytest.mark.parametrize("variant", ["self_supervised", "finetuned"])
def test_a_model_goes_out_and_comes_back(variant, tmp_path):
    model, official = make(variant=variant)
    torch.save(official, tmp_path / "official.pt")
    imported = import_flamingo(tmp_path / "official.pt", **HEADS)
    assert isinstance(imported.model, Flamingo) and imported.model.config == CONFIG
    same_tensors(imported.model, model)
    assert len(imported.model.carried) == (4 if variant == "self_supervised" else 2)
    assert set(imported.dropped) == set(imported.model.carried)
    same_file(export_flamingo(imported.model), official)
    save_model(tmp_path / "ours.safetensors", imported.model)  # through a model file nothing is lost either
    same_file(export_flamingo(load_model(tmp_path / "ours.safetensors")), official)


OTHER_LIPS = {"depth": 1, "width": 32, "num_heads": 4, "position_kernel": 16, "position_groups": 2}


@pytest.mark.parametrize(
    "lips", [{"fusion": "add", "video": VideoConfig(activation="relu")}, OTHER_LIPS | {"audio_features": 52}]
)
def test_shapes_show_every_size_but_heads(lips, tmp_path):
    lips = replace(LIPS, **lips)
    sizes = replace(SIZES, audio_depth=1, text_depth=3, vocab_size=70, text_positions=9, audio_positions=11, mel_bins=5)
    _, official = make(FlamingoConfig(sizes, lips))
    torch.save(official, tmp_path / "official.pt")
    model = load_flamingo(tmp_path / "official.pt", audio_heads=4, text_heads=4, video_heads=lips.num_heads)
    assert model.config == FlamingoConfig(sizes, lips)


def test_heads_of_released_widths_need_not_be_given(tmp_path):
    sizes = {f"{side}_{key}": value for side in ("audio", "text") for key, value in zip(KEYS, (384, 6, 1), strict=True)}
    config = FlamingoConfig(WhisperConfig(**sizes, vocab_size=60), EncoderConfig(depth=1))
    _, official = make(config, "finetuned")
    torch.save(official, tmp_path / "official.pt")
    imported = load_flamingo(tmp_path / "official.pt")
    assert imported.config == config
    same_file(export_flamingo(imported), official)
    assert "video encoder (finetuned): 1 blocks, width 768, 12 heads, ffn 3072" in "\n".join(imported.describe())


def listed_keys() -> dict[str, list[int]]:
    if not (shared := os.environ.get("AVSPEECH_SHARED")):
        pytest.skip("AVSPEECH_SHARED is not set: the list of a published file's keys is no part of the project")
    return json.loads((Path(shared) / "spec" / "whisper_flamingo_ft_keys.json").read_text())


@pytest.mark.parametrize("variant", ["finetuned", "self_supervised"])
def test_the_key_list_of_a_published_file_goes_round(variant, tmp_path):
    keys = listed_keys()
    if variant == "self_supervised":
        keys = {key.replace("w2v_model.", ""): shape for key, shape in keys.items()}
    generator = torch.Generator().manual_seed(2)
    state = {key: torch.rand(shape, generator=generator).half() for key, shape in keys.items()}
    state |= {key: torch.tensor(3) for key in keys if key.endswith("num_batches_tracked")}
    torch.save({"state_dict": state}, tmp_path / "official.pt")
    model = load_flamingo(tmp_path / "official.pt", audio_heads=2, text_heads=2, video_heads=4)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    same_file(export_flamingo(model, torch.float16), {"state_dict": state})


def test_a_model_that_was_not_imported_has_the_published_keys():
    keys = listed_keys()
    video = EncoderConfig(width=48, depth=2, num_heads=4, ffn_width=64)
    sizes = replace(SIZES, mel_bins=80, audio_positions=1500, vocab_size=51865, text_positions=64)
    with torch.device("meta"):
        model = Flamingo(FlamingoConfig(sizes, video))
    model = model.to_empty(device="cpu")
    given = {key: list(value.shape) for key, value in export_flamingo(model, variant="finetuned")["state_dict"].items()}
    units = "model.encoder.video_model.w2v_model.label_embs_concat"
    assert list(given) == list(keys)
    assert given | {units: None} == keys | {units: None}  # how many units there were is lost
    ours = list(export_flamingo(model, variant="self_supervised")["state_dict"])
    assert [key for key in ours if "final_proj" not in key] == [key.replace("w2v_model.", "") for key in keys]
    assert ours[ours.index("model.encoder.video_model.final_proj.bias") + 1] == "model.decoder.positional_embedding"


def test_a_published_small_model_has_as_many_entries():
    assert len(flamingo_keys(FlamingoConfig(), "finetuned", ("mask_emb", "label_embs_concat"))) == 1222  # the defaults


def test_the_other_variant_can_be_asked_for(tmp_path, light):
    torch.save({"state_dict": light}, tmp_path / "official.pt")
    tuned = export_flamingo(load_flamingo(tmp_path / "official.pt", **HEADS), variant="finetuned")["state_dict"]
    kept = {key: value for key, value in light.items() if "final_proj" not in key}
    wrapped = {key.replace("video_model.", "video_model.w2v_model."): value for key, value in kept.items()}
    same_file({"state_dict": tuned}, {"state_dict": wrapped})


def test_what_a_trainer_leaves_beside_the_weights_is_not_read(tmp_path):
    model, official = make()
    moments = {0: {"step": torch.tensor(5.0), "exp_avg": torch.ones(3)}}
    best = {"dirpath": "/home/author/runs", "best_model_score": torch.tensor(0.3)}
    extras = {"epoch": 3, "pytorch-lightning_version": "1.9.0", "callbacks": {"ModelCheckpoint": best}}
    extras |= {"global_step": 120000, "lr_schedulers": [{"last_epoch": 3}]}
    extras["optimizer_states"] = [{"state": moments, "param_groups": [{"lr": 1e-4, "params": [0]}]}]
    torch.save(extras | official, tmp_path / "last.ckpt")
    imported = import_flamingo(tmp_path / "last.ckpt", **HEADS)
    assert set(extras) <= set(imported.dropped)
    same_tensors(imported.model, model)
    save_model(tmp_path / "ours.safetensors", imported.model)
    assert b"author" not in (tmp_path / "ours.safetensors").read_bytes()


def test_a_file_without_video_is_a_plain_whisper(tmp_path):
    official = export_flamingo(randomize(Whisper(SIZES)))
    torch.save(official, tmp_path / "audio.pt")
    imported = load_flamingo(tmp_path / "audio.pt", audio_heads=4, text_heads=4)
    assert type(imported) is Whisper
    same_file(export_flamingo(imported), official)


def test_official_treatment_is_a_choice(tmp_path, light):
    torch.save({"state_dict": light}, tmp_path / "official.pt")
    ours, theirs = (load_flamingo(tmp_path / "official.pt", **HEADS, official=choice) for choice in (False, True))
    for model, choice in ((ours, False), (theirs, True)):
        config = model.config
        assert (config.whisper.official_padding, config.video.official_padding) == (choice, choice)
        assert (config.zero_dropped_video, config.video.video.channels_last) == (choice, not choice)
    same_file(export_flamingo(theirs), {"state_dict": light})


def renamed(key, name):
    return lambda state: state.update({name: state.pop(key)})


def ungated(state):
    for key in [key for key in state if "gated_x_attn" in key]:
        del state[key]


SPOILT = {
    r"missing: decoder\.blocks\.1\.gated_x_attn_ln\.bias; unknown: decoder\.blocks\.1\.gated_attn_ln":
        renamed("model.decoder.blocks.1.gated_x_attn_ln.bias", "model.decoder.blocks.1.gated_attn_ln.bias"),
    r"missing: encoder\.video_model\.encoder\.layers\.1\.fc1\.bias$":
        replaced(model__encoder__video_model__encoder__layers__1__fc1__bias=None),
    r"video_project\.weight has \(32, 25\), its configuration says \(32, 24\)":
        replaced(model__encoder__video_projection__weight=torch.zeros(32, 25)),
    r"weight_v is \(24, 0, 128\); wanted 3 axes, none of them empty":
        replaced(model__encoder__video_model__encoder__pos_conv__0__weight_v=torch.zeros(24, 0, 128)),
    r"audio_width=32 and whisper\.text_width=64 must be the same":
        replaced(model__decoder__positional_embedding=torch.zeros(20, 64)),
    r"do not begin with 'model\.', unknown: decoder\.ln\.bias": renamed("model.decoder.ln.bias", "decoder.ln.bias"),
    r"something else than tensors in its .*: model\.decoder\.ln\.bias": replaced(model__decoder__ln__bias="x"),
    r"a video encoder but no gated layers": ungated,
    r"missing: encoder\.blocks\.2\.attn\.query\.weight.*unknown: encoder\.blocks\.999999999":
        replaced(model__encoder__blocks__999999999__mlp__0__bias=torch.zeros(128)),
}  # fmt: skip


@pytest.mark.parametrize("reason", SPOILT)
def test_what_does_not_fit_has_a_one_line_reason(tmp_path, light, reason):
    state = dict(light)
    SPOILT[reason](state)
    torch.save({"state_dict": state}, tmp_path / "official.pt")
    said = refused(load_flamingo, tmp_path / "official.pt", **HEADS)
    assert said.startswith(str(tmp_path)) and re.search(reason, said), said


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, r"its width 32 is none of the released models' \(384, 512, 768, 1024, 1280\).*give audio_heads$"),
        ({"audio_heads": 4, "text_heads": 4}, r"its width 24 is none of .*\(768, 1024\).*give video_heads$"),
        (HEADS | {"audio_heads": 5}, "audio_width=32 is not a multiple of whisper.audio_heads=5"),
        (HEADS | {"video_heads": 0}, "video_heads=0 came; it must be at least 1"),
    ],
)
def test_heads_that_cannot_be_known_are_asked_for(tmp_path, light, options, reason):
    torch.save({"state_dict": light}, tmp_path / "official.pt")
    assert re.search(reason, refused(load_flamingo, tmp_path / "official.pt", **options))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"weights": {}}, "holds keys ['weights']; wanted Whisper-Flamingo's 'state_dict'"),
        ([1, 2], "holds a list; wanted"),
        ({"state_dict": {"model.decoder.positions_LD": torch.zeros(2, 2)}}, "a training checkpoint of avspeech"),
        ({"state_dict": {}}, "lacks encoder.conv1.weight"),
        ({"state_dict": Hostile("echo")}, "system"),
    ],
)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, content, reason):
    torch.save(content, tmp_path / "file.pt")
    assert reason in refused(load_flamingo, tmp_path / "file.pt")


def test_what_the_official_code_does_not_know_is_not_exported():
    small = {"video": replace(LIPS, video=VideoConfig(widths=(8, 16), blocks=(1, 1)))}
    for change, said in (({"video_norm": True}, "video_norm=True came"), (small, "the official front end is")):
        with pytest.raises(ValueError, match=said):
            export_flamingo(Flamingo(replace(CONFIG, **change)))
