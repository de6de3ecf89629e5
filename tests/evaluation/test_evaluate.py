"""``python -m avspeech.evaluate`` on a tiny untrained model: files in, report out."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from avspeech.evaluate import main
from avspeech.evaluation import systems
from avspeech.evaluation.conditions import Condition, EvaluationConfig
from avspeech.evaluation.grid import Unreadable
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.systems import make_transcriber, transcribe_all
from avspeech.files import file_sha256
from avspeech.inputs import InputSpec
from avspeech.manifest import read_manifest, write_manifest
from avspeech.models.decoder import DecoderConfig
from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import save_model
from avspeech.models.frontends import VideoConfig
from avspeech.models.recognizer import Recognizer, RecognizerConfig
from avspeech.text.tokenizer import Tokenizer

ENCODER = EncoderConfig(
    width=16,
    depth=1,
    num_heads=2,
    ffn_width=32,
    position_kernel=8,
    position_groups=4,
    video=VideoConfig(input_size=24, stem_width=4, widths=(4, 8), blocks=(1, 1)),
)
CONDITIONS = """
noises:
  babble: {kind: babble, num_voices: 3}
snrs_db: [0]
method: ctc
"""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.fit(["set red now", "bin blue soon", "lay"], "words")


@pytest.fixture(scope="module")
def model(tokenizer) -> Recognizer:
    torch.manual_seed(0)
    config = RecognizerConfig(encoder=ENCODER, decoder=None, ctc=True)
    recognizer = Recognizer(config, tokenizer.vocab_size, tokenizer.to_config()).eval()
    assert recognizer.ctc_head is not None
    torch.nn.init.normal_(recognizer.ctc_head.weight, std=3)  # sharp enough that inputs matter
    torch.nn.init.constant_(recognizer.ctc_head.bias[:4], -100)  # words only: no blank
    return recognizer


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
    cells = [(row["model"], row["modality"], row["noise"], row["snr_db"]) for row in document["conditions"]]
    assert cells == [
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
    assert rows["audio", "babble"] == 3
    assert rows["video", "babble"] == 3
    assert rows["audio+video", "none"] == 2
    lines = [json.loads(line) for line in (folder / "out" / "failures.jsonl").read_text().splitlines()]
    reasons = {line["id"]: line["why"] for line in lines}
    assert set(reasons) == {"c1", "c2"}
    assert "clip1.wav" in reasons["c1"]
    assert "mouth2.mp4" in reasons["c2"]
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


def test_joint_decoding_of_a_model_with_both_heads(folder, tokenizer):
    config = RecognizerConfig(ENCODER, DecoderConfig(width=16, depth=1, num_heads=2, ffn_width=16), ctc=True)
    save_model(folder / "tiny.safetensors", Recognizer(config, tokenizer.vocab_size, tokenizer.to_config()))
    (run,) = evaluated(folder, method="joint", beam_size=2, ctc_weight=0.5, modalities=["audio"])["runs"]
    assert (run["method"], run["beam_size"], run["ctc_weight"], run["length_penalty"]) == ("joint", 2, 0.5, 1.0)


def test_what_a_user_gets_wrong_ends_with_one_message(folder):
    with pytest.raises(SystemExit, match=r"noises\.babble\.manifest is not set"):
        main(*(folder / name for name in ("tiny.safetensors", "test.jsonl", "conditions.yaml", "out")))
    with pytest.raises(SystemExit, match=r"method='viterbi' must be one of ctc, attention"):
        evaluated(folder, method="viterbi")
    with pytest.raises(SystemExit, match=r"device='moon' cannot be used \(.*\); the default is cpu"):
        evaluated(folder, device="moon")
    with pytest.raises(SystemExit, match=r"max_frames=3000 and max_clips=0 must be at least 1"):
        evaluated(folder, max_clips=0)
    shutil.rmtree(folder / "out", ignore_errors=True)
    (folder / "out").write_text("no folder")
    with pytest.raises(SystemExit, match=r"--out_dir .*out cannot be made a folder: File exists; name another"):
        evaluated(folder)
    (folder / "out").unlink()
    with pytest.raises(SystemExit, match=r"method 'joint' came for a model that has no text decoder"):
        evaluated(folder, method="joint")
    shutil.copy(folder / "tiny.safetensors", folder / "whole.safetensors")
    (folder / "tiny.safetensors").write_text("no model")
    with pytest.raises(SystemExit, match=r"tiny\.safetensors cannot be read as a model file"):
        evaluated(folder)
    shutil.copy(folder / "whole.safetensors", folder / "tiny.safetensors")
    first, *others = read_manifest(folder / "test.jsonl")
    textless = json.loads((folder / "test.jsonl").read_text().splitlines()[0]) | {"text": None}
    write_manifest(folder / "test.jsonl", others)
    with (folder / "test.jsonl").open("a") as file:
        print(json.dumps(textless), file=file)
    with pytest.raises(SystemExit, match=f"id '{first.id}': field 'text' is needed"):
        evaluated(folder)


def test_transcripts_do_not_depend_on_batches_and_come_in_order(corpus, model):
    clips = read_manifest(corpus / "test.jsonl")
    loader, config = ConditionLoader(None, inputs=InputSpec(clip_size=24)), EvaluationConfig(method="ctc")

    def transcribed(utterances, max_frames):
        condition = Condition("audio+video")
        transcribe = make_transcriber(model, config, "tiny")
        return transcribe_all(transcribe, "cpu", utterances, condition, loader, max_frames)

    together = transcribed(clips, 1000)
    assert len(set(together)) > 1, "the model must hear a difference, or this tests nothing"
    assert transcribed(clips, 1) == together
    assert transcribed(clips[::-1], 1000) == together[::-1]
    assert [transcribed([clip], 1000)[0] for clip in clips] == together


def test_the_condition_decides_what_the_model_gets(corpus, model, monkeypatch):
    seen = []

    def spy(model, tokenizer, batch, keep_B2, **decoding):
        assert decoding == config.decoding
        seen.append((batch.audio_BTF is not None, batch.video_BTHW is not None, keep_B2.tolist()))
        return [type("H", (), {"text": ""})() for _ in batch.ids]

    monkeypatch.setattr(systems, "transcribe_batch", spy)
    monkeypatch.setattr(systems, "check_heads", lambda model, method: None)
    clips = read_manifest(corpus / "test.jsonl")[:1]
    loader = ConditionLoader(None, inputs=InputSpec(clip_size=24))
    config = EvaluationConfig(method="joint", ctc_weight=0.4)
    for modality in ("audio", "video", "audio+video"):
        transcribe_all(make_transcriber(model, config, "tiny"), "cpu", clips, Condition(modality), loader)
    assert seen == [(True, False, [[True, False]]), (False, True, [[False, True]]), (True, True, [[True, True]])]


def test_a_batch_of_broken_files_reaches_no_model(tmp_path, corpus):
    (clip, *_) = read_manifest(corpus / "test.jsonl")
    broken = type(clip)(clip.id, audio=tmp_path / "absent.wav", mouth=clip.mouth, num_frames=12, text="a")

    def transcribe(batch, keep_B2):
        raise AssertionError("nothing to decode")

    (text,) = transcribe_all(transcribe, "cpu", [broken], Condition("audio"), ConditionLoader(None))
    assert isinstance(text, Unreadable)
    assert "absent.wav" in text.why
