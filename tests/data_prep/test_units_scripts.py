"""Features -> codebook -> units -> quality, and the tokenizer script, on a tiny corpus; broken clips lose no line."""

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from avspeech.files import read_lines
from avspeech.manifest import read_manifest, read_units, write_manifest
from avspeech.media.audio import write_wav
from avspeech.models.cluster_predictor import ClusterPredictor, HeadConfig
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import ModelFileError, load_model, save_model
from avspeech.models.frontends import VideoConfig
from avspeech.text.tokenizer import Tokenizer
from avspeech.units.kmeans import Codebook
from data_prep import assign_units, dump_features, fit_units, train_tokenizer
from data_prep.clip_vectors import describe, encoder_vectors, mfcc_vectors, open_source, plan
from tests.hub.small_models import KINDS
from tests.interop.official import pretrained
from tests.refusals import raises

SCRIPTS = Path(__file__).parents[2] / "data_prep"


@pytest.fixture
def model(tmp_path) -> Path:
    video = VideoConfig(shrink=2, stem_width=4, widths=(4, 8), blocks=(1, 1))
    encoder = EncoderConfig(width=16, depth=2, num_heads=2, ffn_width=32, video=video, position_kernel=8)
    save_model(tmp_path / "model.safetensors", ClusterPredictor(encoder, num_units=4, head=HeadConfig(8)))
    return tmp_path / "model.safetensors"


@pytest.fixture
def book(tmp_path) -> Path:
    return tmp_path / "book.safetensors"


@pytest.fixture
def train(corpus) -> Path:
    return corpus / "train.jsonl"


@pytest.fixture
def val(corpus) -> Path:
    return corpus / "val.jsonl"


def lengths(manifest: Path) -> list[int | None]:
    return [utterance.num_frames for utterance in read_manifest(manifest)]


@pytest.fixture
def broken(corpus, tmp_path) -> Path:
    (tmp_path / "text.wav").write_text("this is no sound")
    write_wav(tmp_path / "short.wav", np.full(160, 0.1, np.float32))  # 10 ms
    utterances = read_manifest(corpus / "train.jsonl")
    for place, name in ((2, "text.wav"), (4, "short.wav")):
        utterances[place] = replace(utterances[place], audio=tmp_path / name)
    write_manifest(tmp_path / "broken.jsonl", utterances)
    return tmp_path / "broken.jsonl"


def test_100_hz_units_are_kept_or_thinned_to_every_fourth_and_25_hz_units_made_no_faster(train, val, book, tmp_path):
    fit_units.main(train, book, num_units=8)
    with pytest.raises(ValueError, match="--rate 100 came, and the codebook has 25 Hz"):
        assign_units.main(val, book, tmp_path / "25.km", rate=100)
    assert not (tmp_path / "25.km").exists()
    fit_units.main(train, book, rate=100, num_units=8)
    assign_units.main(val, book, tmp_path / "100.km")
    assign_units.main(val, book, tmp_path / "25.km", rate=25)
    fast, slow = (list(read_units(tmp_path / name)) for name in ("100.km", "25.km"))
    assert slow == [row[::4] for row in fast] and [len(row) for row in slow] == lengths(val)


def test_a_broken_clip_keeps_its_line_and_is_listed_and_too_many_end_with_status_1(train, broken, book, tmp_path):
    raises(SystemExit, "2 of 12 failed, more than 2%", fit_units.main, broken, book, num_units=4)
    assert not book.exists()
    fit_units.main(broken, book, num_units=4, max_failed=0.5)
    for name, manifest in (("whole", train), ("broken", broken)):
        assign_units.main(manifest, book, tmp_path / f"{name}.km", max_failed=0.5)
    whole, holes = (list(read_units(tmp_path / name)) for name in ("whole.km", "broken.km"))
    assert holes == [[] if index in (2, 4) else row for index, row in enumerate(whole)]
    listed = read_lines(tmp_path / "broken.km.failures.jsonl")
    assert [failure["id"] for failure in listed] == ["train2", "train4"]
    assert "text.wav" in listed[0]["why"] and listed[1]["why"].startswith("MediaError: ")
    assert "has 160 samples, wanted at least 25 ms" in listed[1]["why"]
    assert (tmp_path / "whole.km.failures.jsonl").read_text() == ""


def test_encoder_units_know_their_model(train, val, book, model, tmp_path):
    fit_units.main(train, book, features="encoder", model=model, layer=1, num_units=6)
    assign_units.main(val, book, tmp_path / "val.km", model=model)
    assert [len(row) for row in read_units(tmp_path / "val.km")] == lengths(val)
    features = Codebook.load(book).features
    assert (features["layer"], features["model"], features["modality"]) == (1, "model.safetensors", "audio+video")
    raises(ValueError, "needs --model", assign_units.main, val, book, tmp_path / "out.km")
    data = model.read_bytes()
    (tmp_path / "other.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"wanted the model that the codebook was made with: model.safetensors"):
        assign_units.main(val, book, tmp_path / "out.km", model=tmp_path / "other.safetensors")


def test_a_modality_that_is_not_asked_for_is_not_read_and_ids_with_folders_get_folders(val, model, tmp_path):
    utterances, silent = read_manifest(val), tmp_path / "silent.jsonl"
    write_manifest(silent, [replace(one, audio=None, id=f"s1/{one.id}") for one in utterances])
    dump_features.main(silent, tmp_path / "lips", features="encoder", model=model, layer=2, modality="video")
    assert np.load(tmp_path / "lips/s1/val0.npy").shape == (utterances[0].num_frames, 16)
    with pytest.raises(ValueError, match="field 'audio' is needed"):
        dump_features.main(silent, tmp_path / "both", features="encoder", model=model, layer=2)


def test_encoder_vectors_are_the_encoders(val, model):
    utterance, encoder = read_manifest(val)[0], load_model(model).encoder
    kinds = [(2, "audio+video"), (2, "video"), (2, "audio"), (1, "audio+video")]
    both, *others = (encoder_vectors([utterance], encoder, layer, kind)[0] for layer, kind in kinds)
    assert both.shape == (utterance.num_frames, 16)
    assert all(other.shape == both.shape and not np.allclose(both, other) for other in others)


def test_dumped_vectors_are_resumed_and_others_are_refused(train, tmp_path):
    out_dir, first = tmp_path / "mfcc", read_manifest(train)[0]
    dump_features.main(train, out_dir)
    assert np.array_equal(np.load(out_dir / "train0.npy"), mfcc_vectors(first, 25))
    assert len(list(out_dir.glob("*.npy"))) == 12
    (out_dir / "train0.npy").unlink()
    (out_dir / "train1.npy").write_bytes(b"kept as it is")
    dump_features.main(train, out_dir)
    assert np.load(out_dir / "train0.npy").shape == (first.num_frames, 39)
    assert (out_dir / "train1.npy").read_bytes() == b"kept as it is"
    raises(ValueError, r"holds \{'kind': 'mfcc', 'rate': 25\}, wanted", dump_features.main, train, out_dir, rate=100)


def test_clips_that_go_through_the_encoder_together_come_out_as_alone(broken, model, tmp_path):
    options = {"features": "encoder", "model": model, "layer": 2, "max_failed": 0.5}
    dump_features.main(broken, tmp_path / "alone", **options)
    dump_features.main(broken, tmp_path / "together", **options, max_frames=60)
    names = sorted(path.name for path in (tmp_path / "alone").glob("*.npy"))
    assert len(names) == 11  # train2's sound is text; 10 ms of train4's are enough for an encoder
    for name in names:
        alone, together = (np.load(tmp_path / folder / name) for folder in ("alone", "together"))
        np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-5)
    utterances = read_manifest(broken)
    batches = plan(utterances, open_source(describe("encoder", 25, model, 2, "video"), model), 60)
    assert sorted(index for batch in batches for index in batch) == list(range(12))
    assert max(len(batch) for batch in batches) > 1
    assert all(len(batch) * max(utterances[i].num_frames for i in batch) <= 60 for batch in batches)


def test_shards_share_the_clips_out_and_keep_their_own_failures(broken, model, tmp_path):
    options = {"features": "encoder", "model": model, "layer": 1, "max_failed": 0.5}
    for frames in (None, 60):
        whole, parts = tmp_path / f"whole{frames}", tmp_path / f"parts{frames}"
        dump_features.main(broken, whole, **options, max_frames=frames)
        counts = []
        for shard in ("1/3", "0/3", "2/3"):
            dump_features.main(broken, parts, **options, max_frames=frames, shard=shard)
            counts.append(len(list(parts.glob("*.npy"))))
        assert counts[0] and counts[0] < counts[1] < counts[2] == 11
        for path in whole.glob("*.npy"):  # to the bit: a clip's company does not depend on the shards
            assert (parts / path.name).read_bytes() == path.read_bytes()
        listed = [read_lines(path) for path in parts.glob("failures.*of3.jsonl")]
        assert len(listed) == 3 and [one["id"] for lines in listed for one in lines] == ["train2"]


def test_a_batch_that_was_left_half_done_is_made_again_as_it_was(train, model, tmp_path):
    options = {"features": "encoder", "model": model, "layer": 2, "max_frames": 100}
    for name in ("once", "twice"):
        dump_features.main(train, tmp_path / name, **options)
    for number in (0, 3, 5, 8):
        (tmp_path / "twice" / f"train{number}.npy").unlink()
    dump_features.main(train, tmp_path / "twice", **options)
    for path in (tmp_path / "once").glob("*.npy"):
        assert (tmp_path / "twice" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("shard", ["4/4", "1", "-1/2", "a/b"])
def test_a_shard_that_makes_no_sense_is_refused(train, tmp_path, shard):
    raises(ValueError, f"--shard {shard} came", dump_features.main, train, tmp_path / "mfcc", shard=shard)


@pytest.mark.parametrize("sampled", [{}, {"max_vectors": 50}, {"percent": 0.5}])
def test_units_from_a_dump_are_those_made_on_the_spot(train, val, model, tmp_path, sampled):
    options, dump = {"features": "encoder", "model": model, "layer": 1}, tmp_path / "dump"
    for manifest in (train, val):
        dump_features.main(manifest, dump, **options)
    fit_units.main(train, tmp_path / "spot.safetensors", **options, **sampled, num_units=6)
    fit_units.main(train, tmp_path / "dumped.safetensors", dump=dump, **sampled, num_units=6)
    assert (tmp_path / "spot.safetensors").read_bytes() == (tmp_path / "dumped.safetensors").read_bytes()
    assign_units.main(val, tmp_path / "spot.safetensors", tmp_path / "spot.km", model=model)
    assign_units.main(val, tmp_path / "spot.safetensors", tmp_path / "dumped.km", dump=dump)
    assert (tmp_path / "spot.km").read_bytes() == (tmp_path / "dumped.km").read_bytes()


def test_a_dump_of_other_features_is_refused_and_holes_are_failures(train, book, tmp_path):
    dump = tmp_path / "dump"
    dump_features.main(train, dump, rate=100)
    dump_features.main(train, tmp_path / "slow")
    with pytest.raises(ValueError, match=r"holds \{'kind': 'mfcc', 'rate': 25\}, wanted .* 100"):
        fit_units.main(train, book, rate=100, dump=tmp_path / "slow")
    raises(ValueError, r"has no features\.json", fit_units.main, train, book, dump=tmp_path)
    fit_units.main(train, book, num_units=4)
    with pytest.raises(ValueError, match=r"holds \{'kind': 'mfcc', 'rate': 100\}, wanted"):
        assign_units.main(train, book, tmp_path / "out.km", dump=dump)
    (dump / "train3.npy").unlink()
    raises(SystemExit, "1 of 12 failed", fit_units.main, train, book, num_units=4, dump=dump)
    assert "is not in the dump" in (tmp_path / "book.safetensors.failures.jsonl").read_text()


def test_a_codebook_says_how_it_was_fitted_and_a_share_of_none_is_refused(train, book):
    raises(ValueError, "--percent 0 came", fit_units.main, train, book, percent=0)
    fit_units.main(train, book, num_units=5, max_vectors=100, percent=0.75)
    fitting = Codebook.load(book).fitting
    wanted = {"num_clips": 9, "num_vectors": 100, "max_vectors": 100, "batch_size": 10_000, "n_init": 20}
    wanted |= {"tol": 0.0, "reassignment_ratio": 0.0, "max_no_improvement": 100, "init": "k-means++"}
    assert {name: fitting[name] for name in wanted} == wanted
    assert 100 < fitting["vectors_seen"] < 9 * 24
    assert 0 < fitting["mean_squared_distance"] < fitting["total_variance"]


def test_mfcc_units_follow_the_words_and_say_what_they_are_and_how_good(train, val, book, tmp_path, capsys):
    out = tmp_path / "val.km"
    fit_units.main(train, book, num_units=8)
    assign_units.main(val, book, out)
    facts = json.loads((tmp_path / "val.km.json").read_text())
    utterances, rows = read_manifest(val), list(read_units(out))
    assert [len(row) for row in rows] == lengths(val)
    assert f"PNMI {facts['words']['pnmi']:.3f}" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.part*"))
    assert facts["codebook_sha256"] == hashlib.sha256(book.read_bytes()).hexdigest()
    assert facts["features"] == Codebook.load(book).features == {"kind": "mfcc", "rate": 25}
    assert (facts["clips"], facts["failed"], facts["frames"]) == (4, 0, sum(map(len, rows)))
    assert facts["used"] == len({unit for row in rows for unit in row})
    vectors_MF = np.concatenate([mfcc_vectors(utterance, 25) for utterance in utterances])
    squares = ((vectors_MF - Codebook.load(book).centroids_KF.numpy()[np.concatenate(rows)]) ** 2).sum(axis=1)
    assert facts["mean_squared_distance"] == pytest.approx(squares.mean(), rel=1e-5)
    assert facts["made_by"] and facts["words"]["pnmi"] > 0.9  # each word is a tone of its own
    write_manifest(tmp_path / "untimed.jsonl", [replace(utterance, words=None) for utterance in utterances])
    assign_units.main(tmp_path / "untimed.jsonl", book, out)
    assert json.loads((tmp_path / "val.km.json").read_text())["words"] is None


@pytest.mark.slow
def test_an_official_checkpoint_is_imported_on_the_fly(train, val, tmp_path):
    ours, checkpoint = pretrained()
    save_model(tmp_path / "model.safetensors", ours)
    torch.save(checkpoint, tmp_path / "base.pt")
    for name, source in (("ours", tmp_path / "model.safetensors"), ("theirs", tmp_path / "base.pt")):
        book = tmp_path / f"{name}.safetensors"
        fit_units.main(train, book, features="encoder", model=source, layer=2, num_units=6)
        assign_units.main(val, book, tmp_path / f"{name}.km", model=source)
    assert torch.equal(*(Codebook.load(tmp_path / f"{name}.safetensors").centroids_KF for name in ("ours", "theirs")))
    assert (tmp_path / "ours.km").read_bytes() == (tmp_path / "theirs.km").read_bytes()
    assert Codebook.load(tmp_path / "theirs.safetensors").features["model"] == "base.pt"


def test_a_model_without_an_audio_visual_encoder_has_no_vectors(train, book, tmp_path):
    whisper = tmp_path / "whisper.safetensors"
    save_model(whisper, KINDS["whisper"]())
    with pytest.raises(ModelFileError, match=r"whisper\.safetensors: the model has no encoder that reads lips"):
        fit_units.main(train, book, features="encoder", model=whisper, layer=1)
    assert not book.exists()


NONSENSE = {
    ("encoder", 25, None, 1): "needs --model", ("encoder", 25, Path("m"), None): "--layer",
    ("encoder", 100, Path("m"), 1): "--rate 100 came with --features encoder",
    ("encoder", 25, Path("missing.safetensors"), 1): "missing.safetensors does not exist",
    ("mfcc", 50, None, None): "--rate 50 came", ("mfcc", 25, None, 3): "need --features encoder; add it",
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), NONSENSE.items())
def test_features_that_make_no_sense_name_their_option(arguments, message):
    raises(ValueError, message, describe, *arguments, "video")


@pytest.mark.parametrize(("kind", "vocab_size"), [("words", None), ("characters", None), ("sentencepiece", 16)])
def test_a_tokenizer_of_the_transcripts(train, val, tmp_path, kind, vocab_size):
    train_tokenizer.main(train, tmp_path / "tokens.json", kind, vocab_size)
    tokenizer, texts = Tokenizer.load(tmp_path / "tokens.json"), [one.text for one in read_manifest(val)]
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts


def test_too_few_texts_for_a_vocabulary_are_one_line(train, tmp_path):
    raises(SystemExit, "cannot make 1000 pieces.*vocab_size", train_tokenizer.main, train, tmp_path / "tokens.json")
    assert not (tmp_path / "tokens.json").exists()


def test_the_commands_run(train, tmp_path):
    command = [sys.executable, SCRIPTS / "train_tokenizer.py", train, tmp_path / "w.json", "--kind=words"]
    assert "8 tokens" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
