"""Running the grid with a transcriber that needs no model: scoring, broken files, stopping and starting again."""

import json
from dataclasses import replace

import pytest
from fake_transcriber import IDENTITY, FakeTranscriber

from avspeech.evaluation.bleu import corpus_bleu, count_ngrams
from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.config import EvaluationConfig, Scoring
from avspeech.evaluation.grid import GridError, evaluate_grid
from avspeech.manifest import Utterance
from tests.refusals import raises


def test_rows_follow_from_the_transcripts(tmp_path):
    utterances = [Utterance("a", text="Set red!", language="en"), Utterance("b", text="set blue now", language="en")]
    config = EvaluationConfig(modalities=("audio",))
    results = evaluate_grid(utterances, config, lambda *_: ["set red", "blue now please"], tmp_path, "m", IDENTITY)
    (row,) = results.conditions
    assert (row.n_utterances, row.n_words, row.substitutions, row.deletions, row.insertions) == (2, 5, 0, 1, 1)
    assert row.wer == pytest.approx(0.4)
    found = [(line.id, line.reference, line.errors) for line in results.hypotheses]
    assert found == [("a", "Set red!", 0), ("b", "set blue now", 2)]


def test_each_language_has_a_row_and_all_has_their_sum(utterances, evaluate):
    results = evaluate()
    assert len(results.conditions) == 3 * 4 * 3  # modalities, noises, languages
    by_language = {row.language: row for row in results.conditions if row.condition == Condition("audio")}
    assert set(by_language) == {"en", "es", "all"}
    for name in ("n_utterances", "n_words", "substitutions", "deletions", "insertions"):
        parts = getattr(by_language["en"], name) + getattr(by_language["es"], name)
        assert getattr(by_language["all"], name) == parts
    assert all(row.wer_95[0] <= row.wer <= row.wer_95[1] for row in results.conditions)
    alone = {row.language for row in evaluate("en", words=utterances[:20]).conditions}
    assert alone == {"en"}, "one language needs no row for all"


def test_video_is_decoded_once_and_stands_in_every_noise(evaluate, fake):
    results = evaluate("", fake)
    assert [condition for condition, _ in fake.asked if condition.modality == "video"] == [Condition("video")]
    video = [row for row in results.conditions if row.modality == "video" and row.language == "all"]
    assert len(video) == 4
    assert len({(row.wer, row.wer_95) for row in video}) == 1


def test_started_again_it_decodes_only_what_is_missing(evaluate, fake):
    class Stopped(Exception):
        pass

    def stops(utterances, condition):
        if len(fake.asked) == 3:
            raise Stopped
        return fake(utterances, condition)

    with pytest.raises(Stopped):
        evaluate("", stops)
    again, whole = FakeTranscriber(), FakeTranscriber()
    results, expected = evaluate("", again), evaluate("elsewhere", whole)
    assert len(fake.asked) + len(again.asked) == len(whole.asked) == 9
    assert (results.conditions, results.hypotheses) == (expected.conditions, expected.hypotheses)


@pytest.mark.parametrize(
    "other",
    [
        {"identity": {"model_sha256": "x"}},
        {"identity": {"manifest_sha256": "x"}},
        {"identity": {"noises": {"babble": {"kind": "babble", "num_voices": [2, 2]}}}},
        {"told": {"method": "ctc", "beam_size": 1}},
        {"told": {"method": "joint", "beam_size": 4}},
        {"seed": 1},
    ],
)
def test_what_decides_the_transcripts_makes_it_decode_afresh(evaluate, fake, other):
    told = {"told": {"method": "joint", "beam_size": 1}}
    evaluate(**told)
    evaluate("", fake, **told | other)
    assert Condition("audio", "babble", 0.0) in [condition for condition, _ in fake.asked]


def test_what_decides_only_the_score_decodes_nothing(evaluate, fake):
    evaluate()
    evaluate("", fake, scoring=Scoring("none"), model="other name")
    assert fake.asked == []


def test_a_seed_that_moves_only_noise_keeps_clean_transcripts(evaluate, fake):
    evaluate()
    evaluate("", fake, seed=7)
    assert all(condition.snr_db is not None for condition, _ in fake.asked)


def test_translations_into_english_are_normalised_as_english(evaluate):
    words = [Utterance("a", text="It's colour 21", language="fr")]
    for told, is_right in (({"task": "translate"}, True), ({}, False)):  # a recogniser knows no task
        chosen = {"words": words, "told": told, "modalities": ("audio",), "noises": {}, "snrs_db": ()}
        results = evaluate("", lambda *_: ["it is color twenty one"], scoring=Scoring("whisper"), **chosen)
        assert (results.conditions[0].language, results.runs[0]["normalization"]) == ("fr", "whisper")
        assert (results.conditions[0].wer == 0) == is_right


def test_every_video_stream_has_rows_transcripts_and_a_file(tmp_path, utterances, evaluate, fake):
    results = evaluate("", fake, video_streams=("own", "blank", "shuffled"))
    assert len(fake.asked) == 4 + 1 + 3 * 4
    assert len(list((tmp_path / "decoded").iterdir())) == 17
    assert (tmp_path / "decoded" / "audio+video_babble_-5_dB_shuffled_video.jsonl").is_file()
    assert len(results.conditions) == (4 + 4 + 3 * 4) * 3  # noises; languages
    assert len({(row.condition, row.language) for row in results.conditions}) == len(results.conditions)
    cells = {(row.modality, row.video_stream) for row in results.conditions}
    seen = {("audio+video", stream) for stream in ("own", "blank", "shuffled")}
    assert cells == {("audio", "own"), ("video", "own"), *seen}
    for line in results.hypotheses:
        assert (line.video_of is not None) == (line.video_stream == "shuffled")
        assert line.video_of != line.id
    shown = {(line.id, line.video_of) for line in results.hypotheses if line.video_of}
    assert len(shown) == len(utterances), "the same stand-in in every noise"


def test_the_seed_moves_shuffled_videos_and_the_new_axis_leaves_the_others_decoded(evaluate, fake):
    evaluate()
    streams, moved = ("own", "blank", "shuffled"), FakeTranscriber()
    evaluate("", fake, video_streams=streams)
    assert {condition.video_stream for condition, _ in fake.asked} == {"blank", "shuffled"}
    evaluate("", moved, video_streams=streams, seed=1)
    assert Condition("audio+video", video_stream="shuffled") in [condition for condition, _ in moved.asked]
    assert Condition("audio+video", video_stream="blank") not in [condition for condition, _ in moved.asked]


def test_bleu_is_counted_per_language_where_asked_for(evaluate, fake):
    without = evaluate()
    assert all(row.bleu is None and row.bleu_95 is None for row in without.conditions)
    results = evaluate("", fake, scoring=Scoring(metric="bleu"))
    assert fake.asked == []
    assert results.runs[0]["bleu_signature"].startswith("nrefs:1|case:mixed|")
    assert [replace(row, bleu=None, bleu_95=None) for row in results.conditions] == without.conditions
    for row in (row for row in results.conditions if row.modality != "video"):
        lines = [line for line in results.hypotheses if line.condition == row.condition]
        lines = [line for line in lines if row.language in (line.language, "all")]
        assert row.bleu == pytest.approx(corpus_bleu([count_ngrams(line.reference, line.hypothesis) for line in lines]))
        assert row.bleu_95[0] <= row.bleu <= row.bleu_95[1]


def test_a_noise_is_hashed_once_however_many_pictures_stand_beside_it(evaluate):
    asked = []
    evaluate(video_streams=("own", "blank", "blur-3"), noise_of=lambda *noise: asked.append(noise) or "x")
    assert asked == [("babble", 10.0), ("babble", 0.0), ("babble", -5.0)]


def test_broken_files_are_listed_and_the_rest_is_scored_and_a_mended_one_when_started_again(evaluate, fake):
    results = evaluate("", FakeTranscriber(broken=["en/3"]))
    (failure,) = results.failures
    assert (failure.id, failure.why, failure.n_conditions) == ("en/3", "MediaError: x.wav: is <b>empty", 8)
    scored = {row.modality: row.n_utterances for row in results.conditions if row.language == "all"}
    assert scored == {"audio": 39, "video": 40, "audio+video": 39}
    mended = evaluate("", fake)
    assert {number for _, number in fake.asked} == {1}
    assert not mended.failures
    assert mended.conditions == evaluate("elsewhere").conditions


@pytest.mark.parametrize("spoilt", ["garbage", "[1]", '{"fingerprint": "$"}', '{"fingerprint": "$", "seconds": 1}\n{}'])
def test_spoilt_transcripts_are_named(tmp_path, evaluate, spoilt):
    evaluate()
    kept = tmp_path / "decoded" / "audio_clean.jsonl"
    kept.write_text(spoilt.replace("$", json.loads(kept.read_text().splitlines()[0])["fingerprint"]))
    raises(GridError, r"audio_clean\.jsonl is damaged .*; delete it", evaluate)


def test_what_cannot_be_scored_is_an_error(utterances, evaluate, fake):
    everything = FakeTranscriber(broken=[one.id for one in utterances])
    with pytest.raises(GridError, match="no utterance could be scored in audio, clean; the first reason: MediaError"):
        evaluate("", everything)
    raises(ValueError, "'x/1' has no text", evaluate, words=[Utterance("x/1")])
    with pytest.raises(ValueError, match="1 transcripts came for 40 utterances, audio, clean"):
        evaluate("lost", lambda utterances, condition: ["a"])
    with pytest.raises(ValueError, match="1 utterances came for 'shuffled' videos"):
        evaluate("alone", fake, words=utterances[:1], video_streams=("own", "shuffled"))
    assert fake.asked == [], "what cannot be shuffled is decoded"
