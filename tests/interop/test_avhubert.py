"""Official checkpoints in and out: every key has its place, and what does not fit is named."""

import re
from dataclasses import replace
from functools import partial

import pytest
import sentencepiece
import torch
from safetensors import safe_open

from avspeech.decoding.config import DecodingConfig
from avspeech.decoding.transcribe import transcribe_batch
from avspeech.inputs import Sample, collate
from avspeech.interop.avhubert import export_checkpoint, import_checkpoint, load_official
from avspeech.models.cluster_predictor import ClusterPredictor, HeadConfig
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import load_model, save_model
from avspeech.text.tokenizer import Tokenizer
from tests.interop import official as made
from tests.interop.official import PIECES, SMALL, finetuned, pretrained, refused, replaced, same_tensors

POST_NORM = replace(SMALL, pre_norm=False)
ADDED = replace(SMALL, fusion="add", video=replace(SMALL.video, activation="relu"))


@pytest.mark.parametrize("encoder", [SMALL, POST_NORM, ADDED], ids=["pre-norm", "post-norm", "added streams"])
@pytest.mark.parametrize("mask_features", [False, True])
def test_a_pretrained_model_goes_out_and_comes_back(encoder, mask_features, tmp_path):
    model, official = pretrained(encoder, mask_features=mask_features)
    torch.save(made.with_training_state(official), tmp_path / "official.pt")
    imported = import_checkpoint(tmp_path / "official.pt")
    same_tensors(imported.model, model)
    assert imported.model.encoder.config == model.encoder.config
    assert (imported.model.num_units, imported.model.mask_features) == ((9,), mask_features)
    same_tensors(export_checkpoint(imported.model)["model"], official["model"])
    assert {"last_optimizer_state", "optimizer_history", "extra_state"} <= set(imported.dropped)


def test_the_released_layout_is_what_is_exported():
    state = pretrained()[1]["model"]
    shapes = {  # of a sample of each kind of key in released files
        "mask_emb": (104,), "label_embs_concat": (13, 16), "feature_extractor_audio.proj.weight": (32, 104),
        "feature_extractor_video.resnet.frontend3D.0.weight": (64, 1, 5, 7, 7),
        "feature_extractor_video.resnet.frontend3D.1.num_batches_tracked": (),
        "feature_extractor_video.resnet.frontend3D.2.weight": (64,),
        "feature_extractor_video.resnet.trunk.layer2.0.downsample.0.weight": (128, 64, 1, 1),
        "feature_extractor_video.resnet.trunk.layer4.1.relu2.weight": (512,),
        "feature_extractor_video.proj.bias": (32,), "layer_norm.weight": (64,), "post_extract_proj.weight": (32, 64),
        "encoder.pos_conv.0.weight_g": (1, 1, 128), "encoder.pos_conv.0.weight_v": (32, 8, 128),
        "encoder.layers.1.self_attn.out_proj.weight": (32, 32), "encoder.layers.1.self_attn_layer_norm.bias": (32,),
        "encoder.layers.1.fc1.weight": (48, 32), "encoder.layers.1.final_layer_norm.weight": (32,),
        "encoder.layer_norm.weight": (32,), "final_proj.weight": (16, 32),
    }  # fmt: skip
    assert {name: tuple(state[name].shape) for name in shapes} == shapes
    tuned = finetuned()[1]["model"]
    assert {key.split(".")[0] for key in tuned} == {"encoder", "decoder"}
    assert tuned["decoder.embed_tokens.weight"].shape == (9, 32)
    assert {"encoder.w2v_model.encoder.layers.0.fc2.bias", "decoder.embed_positions._float_tensor"} <= tuned.keys()
    assert "decoder.layers.1.encoder_attn.k_proj.weight" in tuned


def test_a_finetuned_model_brings_its_dictionary_and_transcribes(tmp_path, monkeypatch):
    model, official = finetuned()
    official["task_state"] = {"target_dictionary": made.FairseqDictionary(PIECES)}
    official["model"]["encoder.w2v_model.mask_emb"] += 3
    made.save_with_fairseq(monkeypatch, official, tmp_path / "official.pt")
    imported = import_checkpoint(tmp_path / "official.pt").model
    same_tensors(imported, model)
    save_model(tmp_path / "ours.safetensors", imported)
    ours = load_model(tmp_path / "ours.safetensors")
    same_tensors(export_checkpoint(ours)["model"], official["model"])  # what is not read is carried along
    tokenizer = ours.tokenizer
    assert tokenizer.decode([5, 7, 6, 8]) == "thes at"
    batch = collate([Sample("a", 6, torch.randn(6, 104), torch.randint(0, 255, (6, 88, 88), dtype=torch.uint8))])
    ((hypothesis,),) = transcribe_batch(ours, batch, config=DecodingConfig(beam_size=3))
    assert isinstance(hypothesis.text, str)
    with pytest.raises(ValueError, match="--sentencepiece"):
        tokenizer.encode("the")


def test_the_sentencepiece_model_is_taken_where_its_pieces_are_the_dictionary(tmp_path, monkeypatch):
    tokenizer = Tokenizer.fit(["the cat sat on the mat", "a bat"], "sentencepiece", 16)
    pieces = [tokenizer.piece(number) for number in range(4, tokenizer.vocab_size)]
    processor = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.sentencepiece_model)
    _, official = finetuned(vocab_size=16)
    official["task_state"] = {"target_dictionary": made.FairseqDictionary(pieces), "s2s_tokenizer": [processor]}
    made.save_with_fairseq(monkeypatch, official, tmp_path / "official.pt")
    found = load_official(tmp_path / "official.pt").tokenizer
    assert found.kind == "sentencepiece" and found.decode(found.encode("the cat")) == "the cat"
    official["task_state"]["target_dictionary"] = made.FairseqDictionary(pieces[::-1])
    made.save_with_fairseq(monkeypatch, official, tmp_path / "other.pt")
    assert load_official(tmp_path / "other.pt").tokenizer.kind == "pieces"


def test_a_dictionary_can_be_given_or_lie_beside(tmp_path):
    _, official = finetuned()
    torch.save(official, tmp_path / "official.pt")
    assert load_official(tmp_path / "official.pt").tokenizer is None
    (tmp_path / "given.txt").write_text("".join(f"{piece} 1\n" for piece in PIECES), encoding="utf-8")
    given = import_checkpoint(tmp_path / "official.pt", dictionary=tmp_path / "given.txt").model
    assert list(given.tokenizer.symbols) == PIECES
    (tmp_path / "dict.wrd.txt").write_text("a 1\n")
    assert "decoder has 9 tokens, the dictionary 5" in refused(load_official, tmp_path / "official.pt")


def test_the_model_file_names_no_path_of_the_author(tmp_path):
    torch.save(made.with_training_state(pretrained()[1]), tmp_path / "official.pt")
    save_model(tmp_path / "ours.safetensors", load_official(tmp_path / "official.pt"))
    assert b"author" not in (tmp_path / "ours.safetensors").read_bytes()
    with safe_open(str(tmp_path / "ours.safetensors"), framework="pt") as file:
        assert "adam_betas" in file.metadata()["avspeech"]
    assert load_model(tmp_path / "ours.safetensors").source["updates"] == 400000


def test_what_a_configuration_leaves_out_has_the_official_default(tmp_path):
    _, official = pretrained(POST_NORM)
    for name in ("layer_norm_first", "logit_temp", "masking_type", "modality_fuse", "resnet_relu_type"):
        del official["cfg"]["model"][name]
    torch.save(official, tmp_path / "official.pt")
    model = load_official(tmp_path / "official.pt")
    assert (model.encoder.config.pre_norm, model.head.temperature, model.mask_features) == (False, 0.1, False)


def renamed(official):
    state = official["model"]
    state["post_extract_projection.weight"] = state.pop("post_extract_proj.weight")


settings, weights = partial(replaced, "cfg", "model"), partial(replaced, "model")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (renamed, r"missing: post_extract_proj\.weight; unknown: post_extract_projection\.weight"),
        (weights(encoder__layers__1__fc1__bias=None), r"missing: encoder\.layers\.1\.fc1\.bias$"),
        (weights(mask_emb="x"), "something else than tensors in its state dict: mask_emb"),
        (settings(_name="wav2vec2"), "holds a model 'wav2vec2'; wanted 'av_hubert' or 'av_hubert_seq2seq'"),
        (settings(encoder_ffn_embed_dim=50), r"ffn\.inner\.weight has \(48, 32\), its configuration says \(50, 32\)"),
        (settings(activation_fn="relu"), "its activation_fn is 'relu'; this import knows 'gelu'"),
        (settings(sub_encoder_layers=2), "its sub_encoder_layers is 2"),
        (settings(untie_final_proj=None), "its untie_final_proj is False"),
        (settings(encoder_embed_dim="768"), "a setting missing or of a wrong type: TypeError"),
        (lambda official: official["cfg"].update(model=None), "has no 'model' in its 'cfg'"),
        (replaced(cfg=None), "wanted fairseq's 'cfg' and 'model'"),
        (
            lambda official: official.update(model=None),
            r"holds keys \['args', .*\]; wanted fairseq's 'cfg' and 'model'",
        ),
    ],
)
def test_what_does_not_fit_has_a_one_line_reason(tmp_path, spoil, reason):
    _, official = pretrained()
    spoil(official)
    torch.save(official, tmp_path / "official.pt")
    said = refused(load_official, tmp_path / "official.pt")
    assert said.startswith(str(tmp_path)) and re.search(reason, said), said


FULL_SIZES = {
    "base": (EncoderConfig(), 103_330_280),
    "large": (EncoderConfig(width=1024, depth=24, num_heads=16, ffn_width=4096), 325_398_504),
}


@pytest.mark.slow
@pytest.mark.parametrize("size", FULL_SIZES)
def test_a_full_size_state_dict_goes_round_bit_for_bit(size, tmp_path):
    encoder, total = FULL_SIZES[size]
    with torch.device("meta"):
        model = ClusterPredictor(encoder, 2000, head=HeadConfig(special_units=4))
    assert sum(parameter.numel() for parameter in model.parameters()) == total
    official = export_checkpoint(model)
    generator = torch.Generator().manual_seed(1)
    for key, tensor in official["model"].items():
        random = tensor.is_floating_point()
        official["model"][key] = torch.rand(tensor.shape, generator=generator) if random else torch.tensor(3)
    torch.save(official, tmp_path / "official.pt")
    save_model(tmp_path / "ours.safetensors", load_official(tmp_path / "official.pt"))
    same_tensors(export_checkpoint(load_model(tmp_path / "ours.safetensors"))["model"], official["model"])
