"""``python -m avspeech.evaluate`` on a tiny untrained model: files in, report out."""

import json
import runpy
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from avspeech.decoding.config import DecodingConfig
from avspeech.evaluate import main
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.grid import Unreadable
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.systems import batch_decoder, decoding_facts, transcribe_all
from avspeech.files import file_sha256
from avspeech.hub.folder import save_pretrained
from avspeech.inputs import InputSpec
from avspeech.manifest import read_manifest, write_manifest
from avspeech.models.decoder import DecoderConfig
from avspeech.models.files import load_model, save_model
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from tests.models.tiny_whisper import LIPS, make_whisper
from tests.refusals import raises

CONDITIONS = "{noises: {babble: {kind: babble, num_voices: 3}}, snrs_db: [0], decoding: {method: ctc, beam_size: 1}}"


@pytest.fixture
def folder(tmp_path, corpus, model) -> Path:
    """A copy of the corpus with a model and conditions beside it."""
    shutil.copytree(corpus, tmp_path / "run")
    save_model(tmp_path / "run" / "tiny.safetensors", model)
    (tmp_path / "run" / "conditions.yaml").write_text(CONDITIONS)
    return tmp_path / "run"


def evaluated(folder: Path, **options) -> dict:
    names = ("tiny.safetensors", "test.jsonl", "conditions.yaml", "out")
    main(*(folder / name for name in names), noise_manifests={"babble": folder / "voices.jsonl"}, **options)
    return json.loads((folder / "out" / "results.json").read_text())


def test_files_in_report_out(folder):
    document = evaluated(folder)
    assert [(row["model"], row["modality"], row["noise"], row["snr_db"]) for row in document["conditions"]] == [
        ("tiny", modality, *noise)
        for modality in ("audio", "video", "audio+video")
        for noise in (("none", None), ("babble", 0.0))
    ]
    assert all(row["n_utterances"] == 4 and row["n_words"] == 12 for row in document["conditions"])
    (run,) = document["runs"]
    assert run["model_sha256"] == file_sha256(folder / "tiny.safetensors")
    assert run["noises"]["babble"]["num_voices"] == [3, 3]
    assert str(folder) not in json.dumps(run["noises"]), "where noise lies is nobody else's business"
    assert "<svg" in (folder / "out" / "report.html").read_text()
    assert (folder / "out" / "report.md").is_file()


def test_broken_and_missing_files_are_listed_and_the_run_goes_on(folder):
    (folder / "clip1.wav").write_bytes(b"")
    (folder / "mouth2.mp4").unlink()
    rows = {(row["modality"], row["noise"]): row["n_utterances"] for row in evaluated(folder)["conditions"]}
    assert (rows["audio", "babble"], rows["video", "babble"], rows["audio+video", "none"]) == (3, 3, 2)
    lines = map(json.loads, (folder / "out" / "failures.jsonl").read_text().splitlines())
    reasons = {line["id"]: line["why"] for line in lines}
    assert set(reasons) == {"c1", "c2"}
    assert "clip1.wav" in reasons["c1"] and "mouth2.mp4" in reasons["c2"]
    assert "2 utterances could not be read" in (folder / "out" / "report.html").read_text()


def test_nothing_that_can_be_read_ends_with_one_message(folder):
    for utterance in read_manifest(folder / "test.jsonl"):
        assert utterance.mouth is not None
        utterance.mouth.write_text("no clip")
    with pytest.raises(SystemExit, match=r"no utterance could be scored in video, clean; the first reason: MediaError"):
        evaluated(folder)


def test_options_replace_values_of_the_yaml(folder):
    document = evaluated(folder, modalities=["video"], name="lips")
    assert {(row["model"], row["modality"]) for row in document["conditions"]} == {("lips", "video")}


def test_mouths_cut_otherwise_than_the_models_are_refused_where_they_are_read(folder):
    cut = [replace(one, crop="steady") for one in read_manifest(folder / "test.jsonl")]
    write_manifest(folder / "test.jsonl", cut)
    with pytest.raises(SystemExit, match="is cut 'steady', wanted 'official'"):
        evaluated(folder)
    assert evaluated(folder, modalities=["audio"])["conditions"]


@pytest.mark.parametrize("flag", ["--method=ctc", "--beam_size"])
def test_a_flag_that_moved_is_answered_with_its_new_name(monkeypatch, flag):
    monkeypatch.setattr("sys.argv", ["evaluate", flag, "4"])
    monkeypatch.delitem(sys.modules, "avspeech.evaluate")  # run anew, as a command
    raises(SystemExit, "is now --decoding", runpy.run_module, "avspeech.evaluate", run_name="__main__")


def test_a_model_is_found_by_its_folder_and_by_its_name(folder, monkeypatch):
    rows = evaluated(folder, modalities=["audio"])["conditions"]
    shared = save_pretrained(folder / "shared", load_model(folder / "tiny.safetensors"))
    monkeypatch.setattr("avspeech.hub.names._find_demo", lambda name: folder / "tiny.safetensors")
    for name in (str(shared), "demo"):
        options = {"modalities": ["audio"], "noise_manifests": {"babble": folder / "voices.jsonl"}, "name": "tiny"}
        main(name, folder / "test.jsonl", folder / "conditions.yaml", folder / "other", **options)
        assert json.loads((folder / "other" / "results.json").read_text())["conditions"] == rows


def test_the_facts_of_decoding_are_what_the_method_reads(model):
    told = DecodingConfig(beam_size=4, ctc_weight=0.4, length_penalty=0.0, min_length=1, temperatures=(0.0,), seed=3)
    assert decoding_facts(replace(told, method="ctc"), model) == {"method": "ctc", "beam_size": 4}
    joint = decoding_facts(replace(told, method="joint"), model)
    assert joint == {"method": "joint", "beam_size": 4, "length_penalty": 0.0, "min_length": 1, "max_tokens": None,
                     "official_limit": False, "ctc_weight": 0.4}  # fmt: skip
    whisper = decoding_facts(replace(told, method="attention"), make_whisper())
    assert not {"seed", "min_length", "ctc_weight"} & set(whisper), "nothing is drawn, so no seed decides"
    drawn = decoding_facts(replace(told, method="attention", temperatures=(0.0, 0.5)), make_whisper())
    assert (drawn["seed"], json.loads(json.dumps(drawn))) == (3, drawn)


def test_joint_decoding_of_a_model_with_both_heads(folder, model):
    config = RecognizerConfig(LIPS, DecoderConfig(width=16, depth=1, num_heads=2, ffn_width=16), ctc=True)
    save_model(folder / "tiny.safetensors", Recognizer(config, model.tokenizer.vocab_size, model.tokenizer))
    decoding = {"method": "joint", "beam_size": 2, "ctc_weight": 0.5}
    (run,) = evaluated(folder, decoding=decoding, modalities=["audio"])["runs"]
    assert (run["method"], run["beam_size"], run["ctc_weight"], run["length_penalty"]) == ("joint", 2, 0.5, None)


def test_what_a_user_gets_wrong_ends_with_one_message(folder):
    with pytest.raises(SystemExit, match=r"noises\.babble\.manifest is not set"):
        main(*(folder / name for name in ("tiny.safetensors", "test.jsonl", "conditions.yaml", "out")))
    raises(SystemExit, r"method.*Expected.*ctc.*viterbi", evaluated, folder, decoding={"method": "viterbi"})
    raises(SystemExit, r"device='moon' cannot be used \(.*\); the default is cpu", evaluated, folder, device="moon")
    raises(SystemExit, r"max_frames=3000 and max_clips=0 must be at least 1", evaluated, folder, max_clips=0)
    without = r"method='joint' came for a Recognizer without text decoder"
    raises(SystemExit, without, evaluated, folder, decoding={"method": "joint"})
    shutil.rmtree(folder / "out", ignore_errors=True)
    textless, *others = (folder / "test.jsonl").read_text().splitlines()
    textless = json.dumps(json.loads(textless) | {"text": None})
    for name, text, said in (
        ("out", "no folder", r"--out_dir .*out cannot be made a folder: File exists; name another"),
        ("test.jsonl", "\n".join([*others, textless]), "id 'c0': field 'text' is needed"),
        ("tiny.safetensors", "no model", r"tiny\.safetensors is no model"),
    ):
        before = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).write_text(text)
        raises(SystemExit, said, evaluated, folder)
        (folder / name).unlink() if before is None else (folder / name).write_bytes(before)


def test_transcripts_do_not_depend_on_batches_and_come_in_order(clips, model):
    loader = ConditionLoader(None, inputs=InputSpec(clip_size=24))
    decode = batch_decoder(model, DecodingConfig("ctc", 1))

    def transcribed(utterances, max_frames):
        return transcribe_all(decode, "cpu", utterances, Condition("audio+video"), loader, max_frames)

    together = transcribed(clips, 1000)
    assert len(set(together)) > 1, "the model must hear a difference, or this tests nothing"
    assert transcribed(clips, 1) == together
    assert transcribed(clips[::-1], 1000) == together[::-1]
    assert [transcribed([clip], 1000)[0] for clip in clips] == together


def test_the_condition_decides_what_the_model_gets(clips):
    seen = []

    def decode(batch, keep_B2):
        seen.append((batch.audio_BTF is not None, batch.video_BTHW is not None, keep_B2.tolist()))
        return [""]

    loader = ConditionLoader(None, inputs=InputSpec(clip_size=24))
    for modality in ("audio", "video", "audio+video"):
        transcribe_all(decode, "cpu", clips[:1], Condition(modality), loader)
    assert seen == [(True, False, [[True, False]]), (False, True, [[False, True]]), (True, True, [[True, True]])]


def test_a_batch_of_broken_files_reaches_no_model(tmp_path, clips):
    broken = replace(clips[0], audio=tmp_path / "absent.wav")
    (text,) = transcribe_all(
        lambda *_: pytest.fail("decoded"), "cpu", [broken], Condition("audio"), ConditionLoader(None)
    )
    assert isinstance(text, Unreadable) and "absent.wav" in text.why
