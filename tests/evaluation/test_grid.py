"""Running the grid with a transcriber that needs no model: scoring, broken files, stopping and starting again."""

from dataclasses import replace

import pytest
from fake_transcriber import IDENTITY, FakeTranscriber

from avspeech.data.manifest import Utterance
from avspeech.evaluation.conditions import Condition, EvaluationConfig
from avspeech.evaluation.grid import evaluate_grid


def test_rows_follow_from_the_transcripts(tmp_path):
    utterances = [Utterance("a", text="Set red!", language="en"), Utterance("b", text="set blue now", language="en")]
    results = evaluate_grid(
        utterances,
        EvaluationConfig(modalities=("audio",)),
        lambda utterances, condition: ["set red", "blue now please"],
        tmp_path,
        "m",
        IDENTITY,
    )
    (row,) = results.conditions
    assert (row.n_utterances, row.n_words, row.substitutions, row.deletions, row.insertions) == (2, 5, 0, 1, 1)
    assert row.wer == pytest.approx(0.4)
    assert [(line.id, line.reference, line.errors) for line in results.hypotheses] == [
        ("a", "Set red!", 0),
        ("b", "set blue now", 2),
    ]


def test_each_language_has_a_row_and_all_has_their_sum(tmp_path, utterances, config, fake):
    results = evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    assert len(results.conditions) == 3 * 4 * 3  # modalities, noises, languages
    by_language = {row.language: row for row in results.conditions if row.condition == Condition("audio")}
    assert set(by_language) == {"en", "es", "all"}
    for name in ("n_utterances", "n_words", "substitutions", "deletions", "insertions"):
        parts = getattr(by_language["en"], name) + getattr(by_language["es"], name)
        assert getattr(by_language["all"], name) == parts
    assert all(row.wer_95[0] <= row.wer <= row.wer_95[1] for row in results.conditions)


def test_one_language_has_no_row_for_all(tmp_path, utterances, config, fake):
    results = evaluate_grid(utterances[:20], config, fake, tmp_path, "m", IDENTITY)
    assert {row.language for row in results.conditions} == {"en"}


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


@pytest.mark.parametrize(
    ("changed", "identity"),
    [
        ({}, {"model_sha256": "x"}),
        ({}, {"manifest_sha256": "x"}),
        ({}, {"noises": {"babble": {"kind": "babble", "num_voices": [2, 2]}}}),
        ({"seed": 1}, {}),
        ({"method": "ctc"}, {}),
        ({"beam_size": 4}, {}),
        ({"length_penalty": 0.5}, {}),
        ({"min_length": 1}, {}),
        ({"official_limit": True}, {}),
    ],
)
def test_what_decides_the_transcripts_makes_it_decode_afresh(tmp_path, utterances, config, fake, changed, identity):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    again = FakeTranscriber()
    evaluate_grid(utterances, replace(config, **changed), again, tmp_path, "m", IDENTITY | identity)
    assert Condition("audio", "babble", 0.0) in [condition for condition, _ in again.asked]


def test_an_option_that_the_method_does_not_read_decodes_nothing(tmp_path, utterances, config, fake):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    again = FakeTranscriber()
    evaluate_grid(utterances, replace(config, ctc_weight=0.5), again, tmp_path, "m", IDENTITY)
    assert again.asked == []
    evaluate_grid(utterances, replace(config, ctc_weight=0.5, method="joint"), again, tmp_path, "m", IDENTITY)
    assert len(again.asked) == 9


def test_what_decides_only_the_score_decodes_nothing(tmp_path, utterances, config, fake):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    again = FakeTranscriber()
    evaluate_grid(utterances, replace(config, normalization="none"), again, tmp_path, "other name", IDENTITY)
    assert again.asked == []


def test_a_seed_that_moves_only_noise_keeps_clean_transcripts(tmp_path, utterances, config, fake):
    evaluate_grid(utterances, config, fake, tmp_path, "m", IDENTITY)
    again = FakeTranscriber()
    evaluate_grid(utterances, replace(config, seed=7), again, tmp_path, "m", IDENTITY)
    assert all(condition.snr_db is not None for condition, _ in again.asked)


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
    with pytest.raises(ValueError, match="no utterance could be scored in audio, clean; the first reason: MediaError"):
        evaluate_grid(utterances, config, everything, tmp_path, "m", IDENTITY)


def test_an_utterance_without_text_is_named(tmp_path, config, fake):
    with pytest.raises(ValueError, match="'x/1' has no text"):
        evaluate_grid([Utterance("x/1")], config, fake, tmp_path, "m", IDENTITY)


def test_an_unknown_normalisation_is_named_before_anything_is_decoded(tmp_path, utterances, config, fake):
    with pytest.raises(ValueError, match="normalization='shout'"):
        evaluate_grid(utterances, replace(config, normalization="shout"), fake, tmp_path, "m", IDENTITY)
    assert fake.asked == []


def test_a_transcriber_that_loses_utterances_is_caught(tmp_path, utterances, config):
    with pytest.raises(ValueError, match="1 transcripts came for 40 utterances, audio, clean"):
        evaluate_grid(utterances, config, lambda utterances, condition: ["a"], tmp_path, "m", IDENTITY)
