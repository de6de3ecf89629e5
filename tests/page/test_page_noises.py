"""Noise that a visitor adds is at the level that was asked for, and the same every time."""

import numpy as np
import pytest

from avspeech.manifest import Utterance, write_manifest
from avspeech.media.audio import write_wav
from avspeech.noise.mixing import rms
from avspeech.noise.spec import NoiseSpec
from avspeech.page.noises import Noises
from tests.refusals import raises

SPEECH_S = 0.1 * np.sin(np.arange(16_000) / 7).astype(np.float32)


@pytest.fixture
def noises(tmp_path) -> Noises:
    rng = np.random.default_rng(0)
    for i in range(3):
        write_wav(tmp_path / f"v{i}.wav", 0.1 * rng.standard_normal(9000).astype(np.float32))
    write_manifest(tmp_path / "voices.jsonl", [Utterance(f"v{i}", audio=tmp_path / f"v{i}.wav") for i in range(3)])
    return Noises({"babble": NoiseSpec("babble", tmp_path / "voices.jsonl")})


@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
@pytest.mark.parametrize("snr_db", [-10, 0, 10])
def test_level_and_repeatability(noises, kind, snr_db):
    mixed_S = noises.add(SPEECH_S, kind, snr_db)
    scale = np.dot(mixed_S, SPEECH_S) / np.dot(SPEECH_S, SPEECH_S)
    assert 20 * np.log10(rms(SPEECH_S) / rms(mixed_S / scale - SPEECH_S)) == pytest.approx(snr_db, abs=0.7)
    np.testing.assert_array_equal(mixed_S, noises.add(SPEECH_S, kind, snr_db))


def test_none_is_the_sound_as_it_came(noises):
    assert noises.add(SPEECH_S, "none", -300) is SPEECH_S


def test_babble_is_offered_only_with_voices(noises):
    assert noises.kinds == ["none", "white", "pink", "babble"]
    assert Noises().kinds == ["none", "white", "pink"]
    raises(ValueError, "noise 'babble' came, wanted one of none, white, pink", Noises().add, SPEECH_S, "babble", 0)
    raises(ValueError, "an SNR of 99 dB came", noises.add, SPEECH_S, "white", 99)
