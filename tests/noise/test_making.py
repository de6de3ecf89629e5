"""Making plans: who is heard, what a change of seed, test set or workers changes, silence, and the asked SNR."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avspeech.evaluation.config import EvaluationConfig
from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import read_audio, write_wav
from avspeech.noise.making import check_plan, make_plan, plan_of
from avspeech.noise.mixing import RULES, to_steps
from avspeech.noise.plan import NoisePlan, PlanMixer
from avspeech.noise.pools import roots_of
from avspeech.noise.spec import NoiseSpec
from avspeech.noise.speech_level import active_level
from tests.noise.plan_corpus import noises_of, sound, utterances_of, write_plan_corpus
from tests.refusals import raises

SPEAKER_OF = {f"v{n}.wav": "acdef"[n % 5] for n in range(10)}


def babble(folder: Path, **options) -> dict[str, NoiseSpec]:
    return {"babble": NoiseSpec("babble", folder / "voices.jsonl", **options)}


def many(folder: Path, count: int) -> list[Utterance]:
    return [replace(utterances_of(folder)[n % 4], id=f"u{n}") for n in range(count)]


@pytest.mark.slow
def test_workers_change_nothing(folder):
    utterances, noises = utterances_of(folder), noises_of(folder)
    plan = make_plan(utterances, noises, [5, 0], seed=3)
    assert plan == make_plan(utterances, noises, [5, 0], seed=3, num_workers=2)
    assert not plan.failures and list(plan.speech) == ["t0", "t1", "t2", "t3"] and len(plan.mixes) == 4 * (6 * 2 + 1)


def test_the_seed_changes_every_mix_and_the_hash(folder):
    plans = [make_plan(utterances_of(folder), noises_of(folder), [0], seed) for seed in (0, 1)]
    assert plans[0].sha256 != plans[1].sha256
    assert all(plans[0].mixes[key].sha256 != plans[1].mixes[key].sha256 for key in plans[0].mixes if key[1] != "hall")


def test_another_utterance_or_condition_changes_no_line(folder):
    utterances, noises = utterances_of(folder), noises_of(folder)
    few = make_plan(utterances[1:], {name: noises[name] for name in ("drop", "babble")}, [0], seed=0)
    more = make_plan(utterances, noises, [10, 0], seed=0)
    assert few.mixes.items() <= more.mixes.items() and few.speech.items() <= more.speech.items()


def test_speakers_of_the_test_set_are_not_heard(folder):
    plan = make_plan(many(folder, 40), babble(folder, num_voices=(2, 4)), [0], seed=0)
    heard = [[str(piece.file) for piece in mix.pieces] for mix in plan.mixes.values()]
    assert {SPEAKER_OF[file] for files in heard for file in files} == set("cdef")
    assert {len(files) for files in heard} == {2, 3, 4} and all(len(set(files)) == len(files) for files in heard)
    assert plan.shares_test_speakers == ()


def test_in_a_corpus_of_one_speaker_everybody_is_heard_but_the_clip_itself(folder):
    alone = [replace(voice, speaker="s1") for voice in read_manifest(folder / "voices.jsonl")]
    write_manifest(folder / "alone.jsonl", alone)
    noises = {"babble": NoiseSpec("babble", folder / "alone.jsonl", (9, 9), test_speakers="allow")}
    plan = make_plan(alone, noises, [0], seed=0)
    for mix in plan.mixes.values():
        assert {piece.file for piece in mix.pieces} == {f"v{n}.wav" for n in range(10)} - {f"{mix.id}.wav"}
    assert plan.shares_test_speakers == ("babble",)
    with pytest.raises(ValueError, match=r"noises\.babble\.manifest: 0 of the 10 clips .* set test_speakers: allow"):
        make_plan(alone, {"babble": replace(noises["babble"], test_speakers="exclude")}, [0], seed=0)
    with pytest.raises(
        ValueError, match=r"noises\.babble\.manifest: 9 of the 10 clips .*, wanted 10, .* lower num_voices"
    ):
        make_plan(alone, {"babble": replace(noises["babble"], num_voices=(10, 10))}, [0], seed=0)


def test_allowed_speakers_are_still_kept_from_their_own_utterances(folder):
    plan = make_plan(many(folder, 40), babble(folder, num_voices=(3, 3), test_speakers="allow"), [0], seed=0)
    heard = {"a": set(), "b": set()}
    for mix in plan.mixes.values():
        heard["ab"[int(mix.id[1:]) % 2]] |= {SPEAKER_OF[piece.file] for piece in mix.pieces if piece.file}
    assert heard == {"a": set("cdef"), "b": set("acdef")}


def test_voices_without_speakers_cannot_be_kept_out(folder):
    write_manifest(folder / "nobody.jsonl", [replace(one, speaker=None) for one in utterances_of(folder)[:3]])
    noises = {"talker": NoiseSpec("talker", folder / "nobody.jsonl")}
    with pytest.raises(ValueError, match=r"noises\.talker\.test_speakers=exclude .* clip 't0' names no speaker"):
        make_plan(utterances_of(folder), noises, [0], seed=0)
    allowed = {"talker": replace(noises["talker"], test_speakers="allow")}
    assert make_plan(utterances_of(folder), allowed, [0], seed=0).shares_test_speakers == ("talker",)


def test_every_voice_is_equally_loud(folder):
    for mix in make_plan(many(folder, 8), babble(folder), [0], seed=0).mixes.values():
        for piece in mix.pieces:
            voice_S = to_steps(read_audio(folder / "voices" / str(piece.file))) / 32768
            assert piece.gain * np.sqrt(np.mean(voice_S**2)) == pytest.approx(0.05, rel=1e-9)


def test_rules_choose_where_noise_starts(folder):
    noises = {"rain": NoiseSpec("file", path=folder / "noise" / "rain.wav")}
    plans = {rule: make_plan(many(folder, 40), noises, [0], seed=0, rule=rule) for rule in RULES}
    starts = {rule: [mix.pieces[0].offset for mix in plan.mixes.values()] for rule, plan in plans.items()}
    assert set(starts["avhubert"]) == {0}
    assert max(starts["avspeech"]) > 30_000 and len(set(starts["avspeech"])) > 35
    assert max(starts["auto_avsr"]) <= 40_000 - 12_000 and len(set(starts["auto_avsr"])) > 35


def test_silent_speech_stays_silent_and_says_so(folder, tmp_path):
    write_wav(tmp_path / "silent.wav", np.zeros(8000, np.float32))
    silent = Utterance("silent", audio=tmp_path / "silent.wav", speaker="a")
    noises = noises_of(folder)
    plan = make_plan([silent], noises, [0], seed=0)
    for mix in plan.mixes.values():
        assert not mix.pieces and mix.measured_snr_db is None
        assert mix.note == (None if mix.noise == "hall" else "the speech is silent, so nothing is added")
        heard_S = PlanMixer(plan, roots_of(noises)).mix(np.zeros(8000, np.float32), *(mix.id, mix.noise, mix.snr_db))
        assert not heard_S.any()


def test_speech_that_is_not_found_is_not_called_silent_and_is_told(folder, tmp_path, caplog):
    audio_S = sound(0, 32_000, level=3e-4)
    audio_S[16_000] = 0.9  # a click 60 dB above the speech
    write_wav(tmp_path / "click.wav", audio_S)
    click = Utterance("click", audio=tmp_path / "click.wav", speaker="a")
    plan = make_plan([click], {"white": NoiseSpec("white")}, [0], seed=0, level="active")
    assert plan.lookup("click", "white", 0).note == "no active speech was found, so nothing is added"
    assert "1 of 1 mixes have no noise in them; the first is 'click' with white 0 dB: no active" in caplog.text
    assert make_plan([click], {"white": NoiseSpec("white")}, [0], seed=0).lookup("click", "white", 0).pieces


def test_silent_noise_adds_nothing_and_says_so(folder, tmp_path):
    write_wav(tmp_path / "silent.wav", np.zeros(500, np.float32))
    noises = {"quiet": NoiseSpec("file", path=tmp_path / "silent.wav")}
    plan = make_plan(utterances_of(folder), noises, [0], seed=0)
    speech_S = read_audio(folder / "speech" / "t0.wav")
    assert plan.lookup("t0", "quiet", 0).note == "the noise was silent 8 times in a row, so nothing is added"
    assert np.array_equal(PlanMixer(plan, roots_of(noises)).mix(speech_S, "t0", "quiet", 0), speech_S)


def test_where_some_noise_is_silent_another_stretch_is_drawn(folder, tmp_path):
    write_wav(tmp_path / "half.wav", np.concatenate([np.zeros(60_000, np.float32), sound(5, 60_000)]))
    plan = make_plan(many(folder, 30), {"half": NoiseSpec("file", path=tmp_path / "half.wav")}, [0], seed=0)
    assert all(mix.measured_snr_db == pytest.approx(0, abs=0.001) for mix in plan.mixes.values())


def test_files_that_cannot_be_read_are_passed_over_and_listed(folder, tmp_path, caplog):
    write_plan_corpus(tmp_path / "c")
    (tmp_path / "c" / "noise" / "rain.wav").write_text("this is no sound")
    (tmp_path / "c" / "speech" / "t1.wav").write_text("nor is this")
    utterances = [*utterances_of(tmp_path / "c"), Utterance("mute", speaker="b")]
    plan = make_plan(utterances, {"any": NoiseSpec("folder", path=tmp_path / "c" / "noise")}, [0], seed=0)
    assert {mix.pieces[0].file for mix in plan.mixes.values()} == {"deep/drop.wav"}
    assert [name for name, _ in plan.failures] == ["t1", "mute"] and "t1.wav" in plan.failures[0][1]
    assert list(plan.speech) == ["t0", "t2", "t3"]
    assert "noises.any: left out" in caplog.text and "rain.wav" in caplog.text
    rain = {"rain": NoiseSpec("file", path=tmp_path / "c" / "noise" / "rain.wav")}
    with pytest.raises(ValueError, match=r"noises\.rain: 0 readable recordings are left for utterance 't0', wanted 1"):
        make_plan(utterances, rain, [0], seed=0)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (NoiseSpec("babble"), r"noises\.n\.manifest is not set .* --noise_manifests '\{n: <manifest>\}'"),
        (NoiseSpec("babble", Path("absent.jsonl")), r"noises\.n\.manifest: absent\.jsonl: cannot be read"),
        (NoiseSpec("file"), r"noises\.n\.path is not set and kind=file needs one or a manifest"),
        (NoiseSpec("file", path=Path("absent.wav")), r"noises\.n\.path: absent\.wav is no file"),
        (NoiseSpec("folder"), r"noises\.n\.path is not set and kind=folder needs one; .*--noise_paths '\{n: <path>\}'"),
        (NoiseSpec("folder", path=Path("absent")), r"noises\.n\.path: absent is no folder"),
        (NoiseSpec("musan", path=Path("absent"), part="music"), r"noises\.n\.path: absent is no MUSAN tree"),
        (NoiseSpec("demand", path=Path("absent")), r"noises\.n\.path: absent is no DEMAND tree"),
        (NoiseSpec("noisex92", path=Path("absent")), r"noises\.n\.path: absent is no NOISEX-92 folder"),
        (NoiseSpec("reverb", impulse_responses=Path("absent")), r"noises\.n\.impulse_responses: absent is no folder"),
    ],
)
def test_noise_that_is_not_there_names_its_key(folder, spec, message):
    raises(ValueError, message, make_plan, utterances_of(folder), {"n": spec}, [0], seed=0)


def test_published_trees_are_drawn_from(folder, tmp_path):
    for n in range(20):
        for name in (f"speech/us-gov/speech-us-gov-{n:04}.wav", f"music/fma/music-fma-{n:04}.wav"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            write_wav(tmp_path / name, sound(n, 3000))
    crowd, music = NoiseSpec("musan", path=tmp_path, part="babble"), NoiseSpec("musan", path=tmp_path, part="music")
    two = replace(crowd, num_voices=(2, 2))
    noises = {"crowd": two, "train_crowd": replace(two, split="train"), "music": music}
    plan = make_plan(many(folder, 20), noises, [0], seed=0)
    mixes = plan.mixes.values()
    heard = {name: {piece.file for mix in mixes if mix.noise == name for piece in mix.pieces} for name in noises}
    assert len(heard["crowd"]) == 2 and len(heard["music"]) == 2 and not heard["crowd"] & heard["train_crowd"]
    facts = {"kind": "musan", "num_voices": [2, 2], "part": "babble", "split": "test", "num_files": 2}
    assert plan.noises["crowd"] == facts | {name: plan.noises["crowd"][name] for name in ("root", "files_sha256")}
    with pytest.raises(ValueError, match=r"noises\.n\.num_voices=\[6, 6\] is more than the 2 recordings of the test"):
        make_plan(many(folder, 1), {"n": crowd}, [0], seed=0)


def test_a_plan_lies_there_for_the_next_evaluation(folder, tmp_path, monkeypatch):
    utterances = utterances_of(folder)
    config = EvaluationConfig(noises=babble(folder), snrs_db=(0.0,), seed=4)
    plan = plan_of(utterances, config, tmp_path / "plan.jsonl")
    monkeypatch.setattr("avspeech.noise.making.make_plan", None)  # not made again
    assert plan_of(utterances, config, tmp_path / "plan.jsonl") == plan
    monkeypatch.undo()
    for changed in (replace(config, seed=5), replace(config, snrs_db=(5.0,)), replace(config, level="active")):
        other = plan_of(utterances, changed, tmp_path / "plan.jsonl")
        assert other.sha256 != plan.sha256 and NoisePlan.read(tmp_path / "plan.jsonl") == other


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "avhubert"}, r"given\.jsonl was made with rule=avspeech, the conditions say avhubert"),
        ({"snrs_db": (5.0, 0.0)}, r"given\.jsonl has no babble at 5.0 dB, which the conditions name; it has 0"),
        ({"noises": {"white": NoiseSpec("white")}}, r"given\.jsonl has no noise 'white'"),
        ({"noises": {"babble": NoiseSpec("babble", num_voices=(2, 2))}}, r"with noises\.babble\.num_voices=\[6, 6\]"),
    ],
)
def test_a_plan_for_something_else_is_refused(folder, change, message):
    utterances = utterances_of(folder)
    config = EvaluationConfig(noises=babble(folder), snrs_db=(0.0,), seed=4)
    plan = make_plan(utterances, config.noises, config.snrs_db, seed=9)
    check_plan(plan, utterances, config, Path("given.jsonl"))
    raises(ValueError, message, check_plan, plan, utterances, replace(config, **change), Path("given.jsonl"))
    with pytest.raises(ValueError, match=r"given\.jsonl lacks 1 of 5 utterances, the first is 'more'"):
        check_plan(plan, [*utterances, replace(utterances[0], id="more")], config, Path("given.jsonl"))


def test_a_part_and_a_room_that_only_one_of_plan_and_conditions_has_are_refused(folder, tmp_path):
    for name in ("DKITCHEN", "TBUS"):
        (tmp_path / name).mkdir()
        write_wav(tmp_path / name / "ch01.wav", sound(1, 3000))
    utterances, everywhere = utterances_of(folder), NoiseSpec("demand", path=tmp_path)
    kitchen, hall = replace(everywhere, part="DKITCHEN"), replace(everywhere, impulse_responses=folder / "rooms")
    for made, wanted, message in (
        (kitchen, everywhere, r"made with noises\.n\.part=DKITCHEN, the conditions say None"),
        (everywhere, kitchen, r"made with noises\.n\.part=None, the conditions say DKITCHEN"),
        (hall, everywhere, r"made with noises\.n\.impulse_responses=True, the conditions say False"),
        (everywhere, hall, r"made with noises\.n\.impulse_responses=False, the conditions say True"),
    ):
        plan = make_plan(utterances, {"n": made}, [0], seed=0)
        check_plan(plan, utterances, EvaluationConfig(noises={"n": made}, snrs_db=(0.0,)), Path("given.jsonl"))
        with pytest.raises(ValueError, match=message):
            check_plan(plan, utterances, EvaluationConfig(noises={"n": wanted}, snrs_db=(0.0,)), Path("given.jsonl"))


@pytest.mark.parametrize("rule", RULES)
def test_snrs_that_no_sound_can_have_are_refused(folder, rule):
    utterances, noises = utterances_of(folder)[:1], {"white": NoiseSpec("white")}
    for snr_db in (1000.0, -1000.0, float("nan")):
        with pytest.raises(ValueError, match=r"snrs_db\[1\]=\S+ must be a number from -100 to 100"):
            make_plan(utterances, noises, [0, snr_db], seed=0, rule=rule)
    plan = make_plan(utterances, noises, [100, -100], seed=0, rule=rule)
    assert all(mix.measured_snr_db == pytest.approx(mix.snr_db, abs=1) for mix in plan.mixes.values())


WAYS = ("avspeech", "clip"), ("avspeech", "active"), ("avhubert", "clip"), ("auto_avsr", "clip")


@pytest.mark.skipif("AVSPEECH_SHARED" not in os.environ, reason="AVSPEECH_SHARED names no folder with GRID clips")
@pytest.mark.parametrize(
    ("count", "rule", "level"),
    [(8, "avspeech", "clip"), *(pytest.param(50, *way, marks=pytest.mark.slow) for way in WAYS)],
)
def test_mixes_of_grid_have_the_snr_that_was_asked_for(count, rule, level, tmp_path):
    """Before rounding, as the plan says; and measured here, from what is heard where the mix was not scaled down."""
    videos = sorted((Path(os.environ["AVSPEECH_SHARED"]) / "data/grid_s1/video").glob("*.mp4"))[:count]
    utterances = [Utterance(video.stem, audio=video, speaker="s1") for video in videos]
    write_manifest(tmp_path / "voices.jsonl", utterances)
    babble = NoiseSpec("babble", tmp_path / "voices.jsonl", (1, 6), test_speakers="allow")
    noises = {"babble": babble, "white": NoiseSpec("white")}
    plan = make_plan(utterances, noises, [-10, -7.5, -5, -2.5, 0, 2.5, 5, 7.5, 10, 15], seed=1, rule=rule, level=level)
    mixes = plan.mixes.values()
    assert len(mixes) == 20 * count and sum(mix.snr_db == 0 for mix in mixes) == 2 * count
    assert max(abs((mix.measured_snr_db or 0) - (mix.snr_db or 0)) for mix in mixes) < 0.01
    mixer, compared = PlanMixer(plan, roots_of(noises)), 0
    for one in utterances[:10]:
        audio_S = read_audio(one.audio or "")
        loudness = active_level(audio_S)[0] if level == "active" else np.sqrt(np.mean(audio_S.astype(float) ** 2))
        for noise, snr_db in plan.conditions:
            heard_S = mixer.mix(audio_S, one.id, noise, snr_db).astype(float)
            if rule == "auto_avsr" or np.abs(heard_S).max() < 0.999:
                compared += 1
                added = np.sqrt(np.mean((heard_S - audio_S) ** 2))
                assert 20 * np.log10(loudness / added) == pytest.approx(snr_db, abs=0.01), (one.id, noise, snr_db)
    assert compared > 30


def test_a_plan_is_read_without_knowing_where_it_was_made(folder, tmp_path):
    make_plan(utterances_of(folder), noises_of(folder), [0], seed=0).write(tmp_path / "plan.jsonl")
    first, *lines = (tmp_path / "plan.jsonl").read_text().splitlines()
    assert str(folder) not in "".join(lines)
    header = json.loads(first)
    assert header["num_utterances"] == 4 and header["format"] == "avspeech noise plan"
    assert header["noises"]["babble"]["files_sha256"] != header["noises"]["any"]["files_sha256"]
