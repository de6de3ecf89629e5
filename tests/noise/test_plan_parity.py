"""A plan by AV-HuBERT's rule gives the mixing tensors of their code, to the bit."""

import numpy as np
import pytest

from avspeech.manifest import Utterance
from avspeech.media.audio import read_audio, write_wav
from avspeech.noise.making import make_plan
from avspeech.noise.plan import NoisePlan, PlanMixer
from avspeech.noise.pools import roots_of
from avspeech.noise.spec import NoiseSpec
from tests.parity.fixtures import find_fixtures


def test_official_mixing_tensors(tmp_path):
    folders, reason = find_fixtures()
    compared = 0
    for fixture in folders:
        if fixture.kind != "frontend":
            continue
        for name in sorted(entry.split(".")[0] for entry in fixture.tensors if entry.endswith(".mixed")):
            compared += 1
            for part in ("clean", "noise"):
                write_wav(tmp_path / f"{name}_{part}.wav", fixture.tensors[f"{name}.{part}"].numpy() / 32768)
            noises = {"official": NoiseSpec("file", path=tmp_path / f"{name}_noise.wav")}
            snr_db = fixture.config[f"{name}_snr"]
            utterances = [Utterance(name, audio=tmp_path / f"{name}_clean.wav")]
            make_plan(utterances, noises, [snr_db], seed=0, rule="avhubert").write(tmp_path / "plan.jsonl")
            mixer = PlanMixer(NoisePlan.read(tmp_path / "plan.jsonl"), roots_of(noises))
            mixed_S = mixer.mix(read_audio(tmp_path / f"{name}_clean.wav"), name, "official", snr_db)
            assert np.array_equal(mixed_S * 32768, fixture.tensors[f"{name}.mixed"].numpy()), name
    if not compared:
        pytest.skip(reason or "no fixture of the official mixing")
    assert compared >= 4
