"""The model card: what the hub reads in its head, what people read below, and what it must not tell."""

import json

import pytest
import yaml
from huggingface_hub import ModelCard

from avspeech.hub.card import model_card, read_results
from avspeech.hub.folder import save_pretrained
from avspeech.interop.restricted import without_paths
from tests.hub.small_models import KINDS, recognizer
from tests.interop.official import refused


def row(language="all", wer=0.125, modality="audio+video", noise="babble", snr_db=0.0, **other):
    values = {"model": "av", "modality": modality, "noise": noise, "snr_db": snr_db, "language": language}
    values |= {"n_utterances": 10, "n_words": 40, "wer": wer, "cer": 0.1, "wer_95": [0.05, 0.2], "video_stream": "own"}
    return values | other


@pytest.fixture
def results():
    rows = [row(), row("en", 0.1), row("es", 0.15), row(noise="none", snr_db=None), row(video_stream="blank")]
    runs = [{"model": "av", "manifest": "test.jsonl", "manifest_sha256": "ab" * 32, "method": "ctc", "seed": 0}]
    return {"format": "avspeech results", "version": 2, "conditions": rows, "runs": runs}


def test_the_head_is_what_the_hub_reads(results, tmp_path):
    (path := tmp_path / "results.json").write_text(json.dumps(results))
    folder = save_pretrained(tmp_path / "m", recognizer(), name="me/m", results=path, license="mit")
    data = ModelCard.load(folder / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("avspeech", "automatic-speech-recognition")
    assert (data.language, data.license, data.model_name) == (["en", "es"], "mit", "me/m")
    values = {(one.dataset_config, one.metric_name): one.metric_value for one in data.eval_results}
    assert values["all", "WER, %, audio+video, babble 0 dB"] == 12.5
    assert values["es", "WER, %, audio+video, babble 0 dB"] == 15.0
    assert ("all", "WER, %, audio+video, clean") in values
    assert ("all", "WER, %, audio+video, babble 0 dB, video: blank") in values
    assert {one.dataset_name for one in data.eval_results} == {"test.jsonl"}


def test_the_body_says_the_same_to_people(results):
    rows, run = read_results(results)
    card = model_card(recognizer(), "me/m", rows, run, {"lr": 0.5}, ["en"], "mit", ["One speaker only."])
    assert "| audio+video, babble 0 dB | 12.5 (5.0 to 20.0) | 10.0 | 40 |" in card
    assert "manifest: test.jsonl, method: ctc, seed: 0." in card
    assert "avspeech transcribe clip.mp4 --model me/m" in card and 'avspeech.load_model("me/m")' in card
    assert "lr: 0.5" in card and "- One speaker only." in card and "CTC head: 25 steps a second" in card


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_card_without_results(kind):
    network = KINDS[kind]()
    card = model_card(network, "me/m")
    head = yaml.safe_load(card.split("---\n")[1])
    assert "model-index" not in head and "license" not in head and network.title in card
    gives_text = kind != "cluster_predictor"
    assert (head["pipeline_tag"] == "automatic-speech-recognition") is gives_text
    assert ("model.features(" in card) is not gives_text and ("gives no text" in card) is not gives_text


SOURCES = {
    "recognizer": {"model": "av_hubert_seq2seq", "training": {"task": {"data": "/home/me", "noise": 0.25}}},
    "flamingo": {"model": "whisper_flamingo", "video_model": "finetuned"},
}


@pytest.mark.parametrize("kind", SOURCES)
def test_weights_of_avhubert_bring_its_licence(kind):
    network = KINDS[kind]()
    network.source = SOURCES[kind]
    card = model_card(network, "me/m")
    assert "license_name: av-hubert" in card and "Copyright (c) Meta Platforms, Inc." in card
    assert ("noise: 0.25" in card) is (kind == "recognizer") and "/home" not in card


def test_a_card_names_no_machine():
    value = {"a": ["/home/me/x", 1, None], "b": ("C:\\x", True), "c": {"d": "av"}}
    assert without_paths(value) == {"a": ["(a path)", 1, None], "b": ["(a path)", True], "c": {"d": "av"}}


def test_results_of_several_models(results):
    results["conditions"].append(row(model="audio"))
    assert "holds results of av, audio; name one" in refused(read_results, results)
    rows, run = read_results(results, "audio")
    assert len(rows) == 1 and run == {}
    assert "holds no results of video, but of av, audio" in refused(read_results, results, "video")


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"conditions": [{"model": "av"}], "runs": []}', "3"])
def test_what_is_no_results_file(content, tmp_path):
    (tmp_path / "results.json").write_text(content)
    assert "results.json" in refused(read_results, tmp_path / "results.json")
    assert "cannot be read" in refused(read_results, tmp_path / "nowhere.json")
