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


def test_rows_follow_from_the_transcripts(tmp_path):
    utterances = [Utterance("a", text="Set red!", language="en"), Utterance("b", text="set blue now", language="en")]
    config = EvaluationConfig(modalities=("audio",))
    results = evaluate_grid(utterances, config, lambda *_: ["set red", "blue now please"], tmp_path, "m", IDENTITY)
    (row,) = results.conditions
    assert (row.n_utterances, row.n_words, row.substitutions, row.deletions, row.insertions) == (2, 5, 0, 1, 1)
    assert row.wer == pytest.approx(0.4)
    found = [(line.id, line.reference, line.errors) for line in results.hypotheses]
    assert found == [("a", "Set red!", 0), ("b", "set blue now", 2)]


def test_each_language_has_a_row_and_all_has_their_sum(tmp_path, utterances, config, fake):
    results = evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    assert len(results.conditions) == 3 * 4 * 3  # modalities, noises, languages
    by_language = {row.language: row for row in results.conditions if row.condition == Condition("audio")}
    assert set(by_language) == {"en", "es", "all"}
    for name in ("n_utterances", "n_words", "substitutions", "deletions", "insertions"):
        parts = getattr(by_language["en"], name) + getattr(by_language["es"], name)
        assert getattr(by_language["all"], name) == parts
    assert all(row.wer_95[0] <= row.wer <= row.wer_95[1] for row in results.conditions)
    alone = evaluate_grid(utterances[:20], config, FakeTranscriber(), tmp_path / "en", "m", IDENTITY)
    assert {row.language for row in alone.conditions} == {"en"}, "one language needs no row for all"


def test_video_is_decoded_once_and_stands_in_every_noise(tmp_path, utterances, config, fake):
    results = evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    assert [condition for condition, _ in fake.asked if condition.modality == "video"] == [Condition("video")]
    video = [row for row in results.conditions if row.modality == "video" and row.language == "all"]
    assert len(video) == 4
    assert len({(row.wer, row.wer_95) for row in video}) == 1


def test_started_again_it_decodes_only_what_is_missing(tmp_path, utterances, config, fake):
    class Stopped(Exception):
        pass

    def stops(utterances, condition):
        if len(fake.asked) == 3:
            raise Stopped
        return fake(utterances, condition)

    with pytest.raises(Stopped):
        evaluate_grid(utterances, config, stops, tmp_path, "m", IDENTITY)
    again, whole = FakeTranscriber(), FakeTranscriber()
    results = evaluate_grid(utterances, config, again, tmp_path, "m", IDENTITY)
    expected = evaluate_grid(utterances, config, whole, tmp_path / "elsewhere", "m", IDENTITY)
    assert len(fake.asked) + len(again.asked) == len(whole.asked) == 9
    assert results.conditions == expected.conditions
    assert results.hypotheses == expected.hypotheses


OTHER_NOISE = {"noises": {"babble": {"kind": "babble", "num_voices": [2, 2]}}}
OTHERS = [{"model_sha256": "x"}, {"manifest_sha256": "x"}, OTHER_NOISE, {"method": "ctc"}, {"beam_size": 4}]
OTHERS += [{"seed": 1}]


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: next(iter(other)))
def test_what_decides_the_transcripts_makes_it_decode_afresh(tmp_path, utterances, config, fake, other):
    told = {"method": "joint", "beam_size": 1}
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY, told)
    again = FakeTranscriber()
    decoding = {key: other.get(key, value) for key, value in told.items()}
    identity = IDENTITY | {key: value for key, value in other.items() if key in IDENTITY}
    evaluate_grid(utterances, replace(config, seed=other.get("seed", 0)), again, tmp_path, "m", identity, decoding)
    assert Condition("audio", "babble", 0.0) in [condition for condition, _ in again.asked]


def test_what_decides_only_the_score_decodes_nothing(tmp_path, utterances, config, fake):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    again = FakeTranscriber()
    evaluate_grid(utterances, replace(config, scoring=Scoring("none")), again, tmp_path, "other name", IDENTITY)
    assert again.asked == []


def test_a_seed_that_moves_only_noise_keeps_clean_transcripts(tmp_path, utterances, config, fake):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    again = FakeTranscriber()
    evaluate_grid(utterances, replace(config, seed=7), again, tmp_path, "m", IDENTITY)
    assert all(condition.snr_db is not None for condition, _ in again.asked)


def test_translations_into_english_are_normalised_as_english(tmp_path):
    utterances = [Utterance("a", text="It's colour 21", language="fr")]
    config = EvaluationConfig(modalities=("audio",), scoring=Scoring("whisper"))

    def wer(decoding):
        results = evaluate_grid(utterances, config, lambda *_: ["it is color twenty one"], tmp_path, "m", {}, decoding)
        assert (results.conditions[0].language, results.runs[0]["normalization"]) == ("fr", "whisper")
        return results.conditions[0].wer

    assert wer({"task": "translate"}) == 0
    assert wer({}) > 0  # a recogniser knows no task


def test_every_video_stream_has_rows_transcripts_and_a_file(tmp_path, utterances, config, fake):
    config = replace(config, video_streams=("own", "blank", "shuffled"))
    results = evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
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


def test_the_seed_moves_shuffled_videos_and_the_new_axis_leaves_the_others_decoded(tmp_path, utterances, config, fake):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    added, moved = FakeTranscriber(), FakeTranscriber()
    config = replace(config, video_streams=("own", "blank", "shuffled"))
    evaluate_grid(utterances, config, added, tmp_path, "m", IDENTITY)
    assert {condition.video_stream for condition, _ in added.asked} == {"blank", "shuffled"}
    evaluate_grid(utterances, replace(config, seed=1), moved, tmp_path, "m", IDENTITY)
    assert Condition("audio+video", video_stream="shuffled") in [condition for condition, _ in moved.asked]
    assert Condition("audio+video", video_stream="blank") not in [condition for condition, _ in moved.asked]


def test_a_lone_utterance_cannot_be_shuffled_and_nothing_is_decoded(tmp_path, utterances, config, fake):
    config = replace(config, video_streams=("own", "shuffled"))
    with pytest.raises(ValueError, match="1 utterances came for 'shuffled' videos"):
        evaluate_grid(utterances[:1], config, fake, tmp_path, "m", IDENTITY)
    assert fake.asked == []


def test_bleu_is_counted_per_language_where_asked_for(tmp_path, utterances, config, fake):
    without = evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    assert all(row.bleu is None and row.bleu_95 is None for row in without.conditions)
    again = FakeTranscriber()
    results = evaluate_grid(utterances, replace(config, scoring=Scoring(metric="bleu")), again, tmp_path, "m", IDENTITY)
    assert again.asked == []
    assert results.runs[0]["bleu_signature"].startswith("nrefs:1|case:mixed|")
    assert [replace(row, bleu=None, bleu_95=None) for row in results.conditions] == without.conditions
    for row in (row for row in results.conditions if row.modality != "video"):
        lines = [line for line in results.hypotheses if line.condition == row.condition]
        lines = [line for line in lines if row.language in (line.language, "all")]
        expected = corpus_bleu([count_ngrams(line.reference, line.hypothesis) for line in lines])
        assert row.bleu == pytest.approx(expected)
        assert row.bleu_95[0] <= row.bleu <= row.bleu_95[1]


def test_a_noise_is_hashed_once_however_many_pictures_stand_beside_it(tmp_path, utterances, config, fake):
    asked = []
    seen = replace(config, video_streams=("own", "blank", "blur-3"))
    evaluate_grid(utterances, seen, fake, tmp_path, "av", IDENTITY, noise_of=lambda *noise: asked.append(noise) or "x")
    assert asked == [("babble", 10.0), ("babble", 0.0), ("babble", -5.0)]


def test_broken_files_are_listed_and_the_rest_is_scored(tmp_path, utterances, config):
    results = evaluate_grid(utterances, config, FakeTranscriber(broken=["en/3"]), tmp_path, "m", IDENTITY)
    (failure,) = results.failures
    assert (failure.id, failure.why, failure.n_conditions) == ("en/3", "MediaError: x.wav: is <b>empty", 8)
    scored = {row.modality: row.n_utterances for row in results.conditions if row.language == "all"}
    assert scored == {"audio": 39, "video": 40, "audio+video": 39}


def test_a_mended_file_is_scored_when_started_again(tmp_path, utterances, config):
    evaluate_grid(utterances, config, FakeTranscriber(broken=["en/3"]), tmp_path, "m", IDENTITY)
    again = FakeTranscriber()
    results = evaluate_grid(utterances, config, again, tmp_path, "m", IDENTITY)
    assert {number for _, number in again.asked} == {1}
    assert not results.failures
    expected = evaluate_grid(utterances, config, FakeTranscriber(), tmp_path / "elsewhere", "m", IDENTITY)
    assert results.conditions == expected.conditions


def test_nothing_readable_is_an_error(tmp_path, utterances, config):
    everything = FakeTranscriber(broken=[one.id for one in utterances])
    with pytest.raises(GridError, match="no utterance could be scored in audio, clean; the first reason: MediaError"):
        evaluate_grid(utterances, config, everything, tmp_path, "m", IDENTITY)


@pytest.mark.parametrize("spoilt", ["garbage", "[1]", '{"fingerprint": "$"}', '{"fingerprint": "$", "seconds": 1}\n{}'])
def test_spoilt_transcripts_are_named(tmp_path, utterances, config, fake, spoilt):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    kept = tmp_path / "decoded" / "audio_clean.jsonl"
    fingerprint = json.loads(kept.read_text().splitlines()[0])["fingerprint"]
    kept.write_text(spoilt.replace("$", fingerprint))
    with pytest.raises(GridError, match=r"audio_clean\.jsonl is damaged .*; delete it"):
        evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)


def test_an_utterance_without_text_is_named(tmp_path, config, fake):
    with pytest.raises(ValueError, match="'x/1' has no text"):
        evaluate_grid([Utterance("x/1")], config, fake, tmp_path, "m", IDENTITY)


def test_a_transcriber_that_loses_utterances_is_caught(tmp_path, utterances, config):
    with pytest.raises(ValueError, match="is shorter than"):
        evaluate_grid(utterances, config, lambda utterances, condition: ["a"], tmp_path, "m", IDENTITY)
