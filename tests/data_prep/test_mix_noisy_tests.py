"""The script around noise plans: plans, wavs and manifests, restarts, and what it refuses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from avspeech.manifest import read_manifest, write_manifest
from avspeech.media.audio import read_audio
from avspeech.noise.mixing import mix_sha256
from avspeech.noise.plan import NoisePlan
from data_prep import mix_noisy_tests
from tests.data_prep.killing import children_of, kill, num_threads, wait_until
from tests.noise.plan_corpus import write_plan_corpus


@pytest.fixture
def folder(tmp_path) -> Path:
    write_plan_corpus(tmp_path / "c")
    (tmp_path / "c" / "conditions.yaml").write_text(
        "noises:\n  babble: {kind: babble, num_voices: 3}\n  rain: {kind: file}\nsnrs_db: [0, -2.5]\nseed: 3\n"
    )
    return tmp_path / "c"


def mix(folder: Path, **options) -> NoisePlan:
    given = {"conditions": folder / "conditions.yaml", "noise_manifests": {"babble": folder / "voices.jsonl"}}
    given |= {"noise_paths": {"rain": folder / "noise" / "rain.wav"}, "num_workers": 0, "plan": folder / "plan.jsonl"}
    mix_noisy_tests.main(folder / "test.jsonl", **(given | options))
    return NoisePlan.read(folder / "plan.jsonl")


def refused(folder: Path, message: str, **options) -> None:
    with pytest.raises(SystemExit, match=message):
        mix(folder, **options)


def test_wavs_hold_what_the_plan_says(folder, capsys):
    plan = mix(folder, wav_dir=folder / "noisy")
    assert (plan.seed, plan.conditions) == (3, tuple((n, s) for n in ("babble", "rain") for s in (0.0, -2.5)))
    names = {f"{noise}_{level}dB" for noise in ("babble", "rain") for level in ("-2.5", "0")}
    assert {path.name for path in (folder / "noisy").iterdir()} == names
    noisy = read_manifest(folder / "noisy" / "rain_-2.5dB" / "manifest.jsonl", require=("audio",), check_files=True)
    assert [one.id for one in noisy] == ["t0", "t1", "t2", "t3"] and {one.text for one in noisy} == {"pa"}
    for one in noisy:
        assert mix_sha256("avspeech", read_audio(one.audio)) == plan.lookup(one.id, "rain", -2.5).sha256
    assert f"4 of 4 utterances in 4 conditions, plan {plan.sha256}" in capsys.readouterr().out
    assert (folder / "plan.failures.jsonl").read_text() == ""


def test_a_restart_mixes_what_is_missing_or_wrong(folder):
    mix(folder, wav_dir=folder / "noisy")
    whole, wrong, cut = (folder / "noisy" / "babble_0dB" / f"t{n}.wav" for n in range(3))
    before = {wav: (wav.read_bytes(), wav.stat().st_mtime_ns) for wav in (whole, wrong, cut)}
    wrong.write_bytes(before[whole][0])
    cut.write_bytes(before[cut][0][:100])
    mix(folder, conditions=None, noise_manifests={}, noise_paths={}, wav_dir=folder / "noisy")
    assert all(wav.read_bytes() == content for wav, (content, _) in before.items())
    assert whole.stat().st_mtime_ns == before[whole][1]
    assert not list((folder / "noisy").rglob("*.part*"))


@pytest.mark.slow
def test_workers_write_the_same_bytes(folder):
    for name, workers in (("none", 0), ("three", 3)):
        mix(folder, wav_dir=folder / name, num_workers=workers)
    none, three = (sorted((folder / name).rglob("*.wav")) for name in ("none", "three"))
    assert len(none) == len(three) == 16
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(none, three, strict=True))


def test_what_leaves_the_range_is_kept_in_float(folder):
    with (folder / "conditions.yaml").open("a") as file:
        print("rule: auto_avsr", file=file)
    plan = mix(folder, wav_dir=folder / "noisy")
    _, mixed_S = wavfile.read(folder / "noisy" / "rain_0dB" / "t0.wav")
    assert mixed_S.dtype == np.float32 and mix_sha256("auto_avsr", mixed_S) == plan.lookup("t0", "rain", 0).sha256


def test_another_plan_of_that_name_is_refused(folder):
    mix(folder)
    refused(folder, r"plan\.jsonl is another plan: it has seed=3, now seed=4; give", seed=4)
    refused(folder, r"--seed 4 came, .*plan\.jsonl was drawn with 3", seed=4, conditions=None)
    sound = bytearray((folder / "noise" / "rain.wav").read_bytes())
    sound[3000] ^= 1
    (folder / "noise" / "rain.wav").write_bytes(bytes(sound))
    refused(folder, r"plan\.jsonl is another plan: rain\.wav of noise 'rain' was altered")
    refused(folder, r"rain\.wav of noise 'rain' was altered: it has sha256", conditions=None, wav_dir=folder / "noisy")


def test_noise_may_lie_elsewhere(folder, tmp_path):
    mix(folder)
    (folder / "noise").rename(tmp_path / "moved")
    finished = {"conditions": None, "noise_manifests": {}, "wav_dir": folder / "noisy"}
    refused(folder, r"noise/rain\.wav of noise 'rain' is missing", **finished, noise_paths={})
    mix(folder, **finished, noise_paths={"rain": tmp_path / "moved"})
    finished["noise_paths"] = {"snow": tmp_path / "moved"}
    refused(folder, "does not list the noises snow; it lists babble, rain", **finished)


def test_clips_that_cannot_be_read_are_listed_and_too_many_are_an_error(folder):
    (folder / "speech" / "t2.wav").write_text("this is no sound")
    refused(folder, r"1 of 4 are not in .*plan\.jsonl, more than 2%", wav_dir=folder / "noisy")
    assert '"t2"' in (folder / "plan.failures.jsonl").read_text()
    assert len(read_manifest(folder / "noisy" / "rain_0dB" / "manifest.jsonl")) == 3


def test_places_and_ids_that_cannot_be_written_to_and_conditions_without_noise_are_refused(folder):
    (folder / "file").write_text("")
    refused(folder, r"--wav_dir .*file cannot be made a folder: File exists; name another", wav_dir=folder / "file")
    refused(folder, r"plan .*file cannot be made a folder", plan=folder / "file" / "p.jsonl")
    refused(folder, r"num_workers=-1 must be 0", num_workers=-1)
    (folder / "test.jsonl").write_text((folder / "test.jsonl").read_text().replace('"t0"', f'"{"t" * 300}"'))
    refused(folder, r"tttt\.wav cannot be written: File name too long", wav_dir=folder / "noisy")
    (folder / "conditions.yaml").write_text("seed: 0\n")
    refused(folder, r"conditions\.yaml names no noises", noise_manifests=None, noise_paths=None)


@pytest.mark.slow
def test_planning_workers_end_with_a_killed_run(folder):
    one = read_manifest(folder / "test.jsonl")[0]
    write_manifest(folder / "many.jsonl", [replace(one, id=f"t{n}") for n in range(2_000)])
    planning = "make_plan(read_manifest(sys.argv[1]), {'white': NoiseSpec('white')}, range(9), 0, num_workers=2)"
    imports = "import sys; from avspeech.manifest import read_manifest; from avspeech.noise.spec import NoiseSpec"
    script = f"{imports}; from avspeech.noise.making import make_plan; {planning}"  # a plan only: starts without torch
    process = subprocess.Popen([sys.executable, "-c", script, folder / "many.jsonl"])
    # Two workers have started a thread that waits for the end of their parent.
    wait_until(lambda: sum(num_threads(child) > 1 for child in children_of(process.pid)) >= 2, process)
    kill(process)
