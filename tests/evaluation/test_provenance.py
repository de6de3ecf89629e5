"""How results were measured: hashes, what intervals rest on, and warnings."""

from dataclasses import replace

import pytest

from avspeech.evaluation.provenance import all_facts, describe_intervals, warnings_of
from avspeech.evaluation.report import write_report
from avspeech.evaluation.results import Results

PLAN = "0123456789abcdef" * 4


@pytest.fixture
def results(evaluate) -> Results:
    run = {"noise_plan_sha256": PLAN, "command": "python -m x --out '<y>'", "versions": {"torch": "2"}}
    return evaluate(identity=run)


@pytest.mark.usefixtures("undrawn")
def test_hashes_are_short_with_the_whole_behind_them(tmp_path, results):
    html = write_report(tmp_path, tmp_path).read_text()
    assert f'<code title="{PLAN}">{PLAN[:12]}</code>' in html
    assert "python -m x --out &#39;&lt;y&gt;&#39;" in html
    assert PLAN in (tmp_path / "report.md").read_text()


def test_everything_recorded_is_shown(results):
    (run,) = results.runs
    shown = {fact.name: fact.hash or fact.value for fact in all_facts(run)}
    assert shown["noise_plan_sha256"] == PLAN
    assert shown["noises.babble.manifest_sha256"] == "b" * 64
    assert shown["seed"] == "0"
    assert {name.split(".")[0] for name in shown} == set(run)


def test_intervals_say_what_they_rest_on(results):
    assert describe_intervals(results).startswith("95 % intervals are over 5 to 10 speakers: ")
    over = replace(results, conditions=[replace(results.conditions[0], wer_95_method="one-unit", wer_95_units=1)])
    assert describe_intervals(over) == "95 % intervals are over 1 speaker: from one alone, the exact Poisson interval."


def test_warnings_name_what_makes_figures_doubtful(results):
    assert [text.split(":")[0] for text in warnings_of(results)] == ["Few speakers"]
    many = replace(results, conditions=[replace(row, wer_95_units=20) for row in results.conditions])
    assert warnings_of(many) == []
    nobody = [replace(row, wer_95_unit="utterance", wer_95_units=40) for row in results.conditions]
    assert warnings_of(replace(results, conditions=nobody))[0].startswith("Intervals are over utterances")
    mixed = replace(many, conditions=[*many.conditions, nobody[0]])
    assert warnings_of(mixed)[0].startswith("Some intervals are over utterances")
    (run,) = results.runs
    shared = replace(many, runs=[{**run, "shares_test_speakers": ["babble"]}])
    assert warnings_of(shared)[0].startswith("Speakers of the test set may be heard in babble:")
    noises = {"babble": {**run["noises"]["babble"], "shares_test_speakers": True}}
    assert warnings_of(replace(many, runs=[{**run, "noises": noises}])) == warnings_of(shared)


def test_a_wrong_speaker_who_is_none_is_told(utterances, evaluate):
    seen = {"modalities": ("audio+video",), "video_streams": ("own", "wrong_speaker"), "noises": {}, "snrs_db": ()}
    first, *_ = warnings_of(evaluate("many", **seen))
    assert first.startswith("Few speakers")
    alone = evaluate("one", words=[replace(one, speaker="s1") for one in utterances], **seen)
    assert warnings_of(alone)[-1].startswith("The wrong speaker is the right one in 40 of 40 transcripts: ")
