"""Features -> codebook -> units -> quality, and the tokenizer script, on a tiny corpus; broken clips lose no line."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avspeech.data.manifest import read_manifest, read_units, write_manifest
from avspeech.media.errors import MediaError
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import save_model
from avspeech.models.frontends import VideoConfig
from avspeech.text.tokenizer import Tokenizer
from avspeech.units.kmeans import Codebook
from data_prep import assign_units, dump_features, fit_units, train_tokenizer
from data_prep.dump_features import describe, encoder_vectors, mfcc_vectors

SCRIPTS = Path(__file__).parents[2] / "data_prep"


@pytest.fixture
def model(tmp_path) -> Path:
    """Return a model file with a tiny random encoder of two blocks."""
    video = VideoConfig(shrink=2, stem_width=4, widths=(4, 8), blocks=(1, 1))
    encoder = EncoderConfig(width=16, depth=2, num_heads=2, ffn_width=32, video=video, position_kernel=8)
    torch.manual_seed(0)
    save_model(tmp_path / "model.safetensors", ClusterPredictor(encoder, num_units=4, unit_width=8))
    return tmp_path / "model.safetensors"


@pytest.fixture
def broken(corpus, tmp_path) -> Path:
    """Return the training manifest with its third clip's sound replaced by text, and its fifth by 10 ms."""
    from avspeech.media.audio import write_wav

    (tmp_path / "text.wav").write_text("this is no sound")
    write_wav(tmp_path / "short.wav", np.full(160, 0.1, np.float32))
    utterances = read_manifest(corpus / "train.jsonl")
    utterances[2] = replace(utterances[2], audio=tmp_path / "text.wav")
    utterances[4] = replace(utterances[4], audio=tmp_path / "short.wav")
    write_manifest(tmp_path / "broken.jsonl", utterances)
    return tmp_path / "broken.jsonl"


def test_mfcc_units_follow_the_words(corpus, tmp_path, capsys):
    fit_units.main(corpus / "train.jsonl", tmp_path / "book.safetensors", num_units=8)
    assign_units.main(corpus / "val.jsonl", tmp_path / "book.safetensors", tmp_path / "val.km")
    utterances, units = read_manifest(corpus / "val.jsonl"), read_units(tmp_path / "val.km")
    assert [len(row) for row in units] == [utterance.num_frames for utterance in utterances]
    printed = capsys.readouterr().out
    assert float(printed.split("PNMI ")[1].split(",")[0]) > 0.9  # each word is a tone of its own
    assert Codebook.load(tmp_path / "book.safetensors").features == {"kind": "mfcc", "rate": 25}
    assert sorted(path.name for path in tmp_path.glob("*.part*")) == []


def test_the_same_seed_gives_the_same_units(corpus, tmp_path):
    for name in ("a", "b"):
        fit_units.main(corpus / "train.jsonl", tmp_path / f"{name}.safetensors", num_units=8, percent=0.5)
        assign_units.main(corpus / "val.jsonl", tmp_path / f"{name}.safetensors", tmp_path / f"{name}.km")
    assert (tmp_path / "a.km").read_text() == (tmp_path / "b.km").read_text()


def test_100_hz_units_are_kept_or_thinned_to_every_fourth(corpus, tmp_path):
    book = tmp_path / "book.safetensors"
    fit_units.main(corpus / "train.jsonl", book, rate=100, num_units=8)
    assign_units.main(corpus / "val.jsonl", book, tmp_path / "100.km")
    assign_units.main(corpus / "val.jsonl", book, tmp_path / "25.km", rate=25)
    fast, slow = read_units(tmp_path / "100.km"), read_units(tmp_path / "25.km")
    assert slow == [row[::4] for row in fast]
    assert [len(row) for row in slow] == [utterance.num_frames for utterance in read_manifest(corpus / "val.jsonl")]


def test_units_cannot_be_made_faster_than_their_codebook(corpus, tmp_path):
    fit_units.main(corpus / "train.jsonl", tmp_path / "book.safetensors", num_units=4)
    with pytest.raises(ValueError, match="--rate 100 came, and the codebook has 25 Hz"):
        assign_units.main(corpus / "val.jsonl", tmp_path / "book.safetensors", tmp_path / "out.km", rate=100)
    assert not (tmp_path / "out.km").exists()


def test_a_broken_clip_keeps_its_line_and_is_listed(corpus, broken, tmp_path):
    fit_units.main(corpus / "train.jsonl", tmp_path / "book.safetensors", num_units=4)
    for name, manifest in (("whole", corpus / "train.jsonl"), ("broken", broken)):
        assign_units.main(manifest, tmp_path / "book.safetensors", tmp_path / f"{name}.km", max_failed=0.5)
    whole, holes = read_units(tmp_path / "whole.km"), read_units(tmp_path / "broken.km")
    assert holes == [[] if index in (2, 4) else row for index, row in enumerate(whole)]
    listed = [json.loads(line) for line in (tmp_path / "broken.km.failures.jsonl").read_text().splitlines()]
    assert [failure["id"] for failure in listed] == ["train2", "train4"]
    assert "text.wav" in listed[0]["why"]
    assert "160 samples" in listed[1]["why"]
    assert (tmp_path / "whole.km.failures.jsonl").read_text() == ""


def test_too_many_broken_clips_end_with_status_1(corpus, broken, tmp_path):
    with pytest.raises(SystemExit, match="2 of 12 clips failed, more than 2%"):
        fit_units.main(broken, tmp_path / "book.safetensors", num_units=4)
    assert not (tmp_path / "book.safetensors").exists()
    fit_units.main(broken, tmp_path / "book.safetensors", num_units=4, max_failed=0.5)
    assert (tmp_path / "book.safetensors").exists()


def test_encoder_units_know_their_model(corpus, model, tmp_path):
    book = tmp_path / "book.safetensors"
    fit_units.main(corpus / "train.jsonl", book, features="encoder", model=model, layer=1, num_units=6)
    assign_units.main(corpus / "val.jsonl", book, tmp_path / "val.km", model=model)
    assert [len(row) for row in read_units(tmp_path / "val.km")] == [
        utterance.num_frames for utterance in read_manifest(corpus / "val.jsonl")
    ]
    features = Codebook.load(book).features
    assert (features["layer"], features["model"], features["modality"]) == (1, "model.safetensors", "audio+video")
    with pytest.raises(ValueError, match="needs --model"):
        assign_units.main(corpus / "val.jsonl", book, tmp_path / "out.km")
    data = bytearray(model.read_bytes())
    data[-1] ^= 1
    (tmp_path / "other.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"wanted the model that the codebook was made with: model.safetensors"):
        assign_units.main(corpus / "val.jsonl", book, tmp_path / "out.km", model=tmp_path / "other.safetensors")


def test_a_modality_that_is_not_asked_for_is_not_read(corpus, model, tmp_path):
    utterances = [replace(utterance, audio=None) for utterance in read_manifest(corpus / "val.jsonl")]
    write_manifest(tmp_path / "silent.jsonl", utterances)
    silent = tmp_path / "silent.jsonl"
    dump_features.main(silent, tmp_path / "lips", features="encoder", model=model, layer=2, modality="video")
    assert np.load(tmp_path / "lips" / "val0.npy").shape == (utterances[0].num_frames, 16)
    with pytest.raises(ValueError, match="field 'audio' is needed"):
        dump_features.main(silent, tmp_path / "both", features="encoder", model=model, layer=2)


def test_encoder_vectors_are_the_encoders(corpus, model):
    from avspeech.models.files import load_model

    utterance = read_manifest(corpus / "val.jsonl")[0]
    encoder = load_model(model).encoder
    both, lips, sound = (
        encoder_vectors(utterance, encoder, 2, kind, "cpu") for kind in ("audio+video", "video", "audio")
    )
    assert both.shape == lips.shape == sound.shape == (utterance.num_frames, 16)
    assert not np.allclose(both, lips)
    assert not np.allclose(both, sound)
    assert not np.allclose(both, encoder_vectors(utterance, encoder, 1, "audio+video", "cpu"))


def test_dumped_vectors_are_resumed_and_others_are_refused(corpus, tmp_path):
    out_dir = tmp_path / "mfcc"
    dump_features.main(corpus / "train.jsonl", out_dir)
    first = read_manifest(corpus / "train.jsonl")[0]
    assert np.array_equal(np.load(out_dir / "train0.npy"), mfcc_vectors(first, 25))
    assert len(list(out_dir.glob("*.npy"))) == 12
    (out_dir / "train0.npy").unlink()
    (out_dir / "train1.npy").write_bytes(b"kept as it is")
    dump_features.main(corpus / "train.jsonl", out_dir)
    assert np.load(out_dir / "train0.npy").shape == (first.num_frames, 39)
    assert (out_dir / "train1.npy").read_bytes() == b"kept as it is"
    with pytest.raises(ValueError, match=r"holds \{'kind': 'mfcc', 'rate': 25\}, wanted"):
        dump_features.main(corpus / "train.jsonl", out_dir, rate=100)


def test_ids_with_folders_get_folders(corpus, tmp_path):
    utterances = [replace(utterance, id=f"s1/{utterance.id}") for utterance in read_manifest(corpus / "val.jsonl")]
    write_manifest(tmp_path / "nested.jsonl", utterances)
    dump_features.main(tmp_path / "nested.jsonl", tmp_path / "mfcc")
    assert (tmp_path / "mfcc" / "s1" / "val0.npy").exists()


def test_sound_shorter_than_a_window_is_a_media_error(broken):
    with pytest.raises(MediaError, match="has 160 samples, wanted at least 25 ms"):
        mfcc_vectors(read_manifest(broken)[4], 25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("encoder", 25, None, 1, "video"), "needs --model"),
        (("encoder", 25, Path("m"), None, "video"), "--layer"),
        (("encoder", 100, Path("m"), 1, "video"), "--rate 100 came with --features encoder"),
        (("encoder", 25, Path("missing.safetensors"), 1, "video"), "missing.safetensors does not exist"),
        (("mfcc", 50, None, None, "video"), "--rate 50 came"),
        (("mfcc", 25, None, 3, "video"), "add --features encoder"),
    ],
)
def test_features_that_make_no_sense_name_their_option(arguments, message):
    with pytest.raises(ValueError, match=message):
        describe(*arguments)


def test_a_share_of_none_is_refused(corpus, tmp_path):
    with pytest.raises(ValueError, match="--percent 0 came"):
        fit_units.main(corpus / "train.jsonl", tmp_path / "book.safetensors", percent=0)


@pytest.mark.parametrize(("kind", "vocab_size"), [("words", None), ("characters", None), ("sentencepiece", 16)])
def test_a_tokenizer_of_the_transcripts(corpus, tmp_path, kind, vocab_size):
    train_tokenizer.main(corpus / "train.jsonl", tmp_path / "tokens.json", kind, vocab_size)
    tokenizer = Tokenizer.load(tmp_path / "tokens.json")
    for utterance in read_manifest(corpus / "val.jsonl"):
        assert tokenizer.decode(tokenizer.encode(utterance.text)) == utterance.text


def test_the_commands_run(corpus, tmp_path):
    command = [
        sys.executable,
        SCRIPTS / "train_tokenizer.py",
        corpus / "train.jsonl",
        tmp_path / "w.json",
        "--kind=words",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "8 tokens" in done.stdout
