"""Noise drawn in training: which voices are heard, what a draw depends on, and what happens to bad files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avspeech.manifest import Utterance, read_manifest
from avspeech.media.audio import read_audio, write_wav
from avspeech.noise.corpora import CORPORA, Corpus
from avspeech.noise.drawn import DrawnNoise
from avspeech.noise.mixing import RULES, rms
from avspeech.noise.pools import open_pools
from avspeech.noise.recordings import Recordings
from avspeech.noise.spec import NoiseConfig, NoiseSpec
from tests.noise.plan_corpus import noises_of, sound

SPEECH_S = sound(99, 8000)
SOMEBODY = Utterance("of another corpus", speaker="somebody else")


@pytest.fixture
def pool(tmp_path) -> list[Utterance]:
    for n in range(9):  # three of each speaker; clip n is a tone of n + 1 hundred Hertz
        tone_S = 0.1 * np.sin(2 * np.pi * 100 * (n + 1) * np.arange(1600) / 16_000)
        write_wav(tmp_path / f"clip{n}.wav", tone_S.astype(np.float32))
    return [Utterance(f"clip{n}", audio=tmp_path / f"clip{n}.wav", speaker=f"speaker{n // 3}") for n in range(9)]


def babble(pool, low, high) -> DrawnNoise:
    return DrawnNoise(NoiseConfig(1.0, (-60, -60), {"babble": NoiseSpec("babble", num_voices=(low, high))}), pool)


def heard(noise: DrawnNoise, seed: int, utterance: Utterance) -> set[int]:
    """Return the frequencies (multiples of 100 Hz) of the voices behind a click."""
    click_S = np.zeros(1600, np.float32)
    click_S[0] = 0.5
    level = np.abs(np.fft.rfft(noise(click_S, np.random.default_rng(seed), utterance)[1:]))[5:]
    return {10 * round((place + 5) / 10) for place in np.flatnonzero(level > 0.4 * level.max())}


def test_the_own_speaker_is_not_heard_where_there_are_others(pool):
    allowed = open_pools({"n": NoiseSpec("babble")}, voices=pool)["n"].allowed
    assert np.flatnonzero(allowed(pool[4])).tolist() == [0, 1, 2, 6, 7, 8]
    assert np.flatnonzero(allowed(replace(pool[4], speaker=None))).tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert allowed(SOMEBODY).all()
    alone = [replace(voice, speaker="s1") for voice in pool]
    allowed = open_pools({"n": NoiseSpec("babble")}, voices=alone)["n"].allowed
    assert np.flatnonzero(allowed(alone[4])).tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    noise = babble(pool, 1, 6)
    assert set.union(*(heard(noise, seed, pool[4]) for seed in range(40))) == {10, 20, 30, 70, 80, 90}


def test_the_number_of_voices_covers_its_range_and_none_is_drawn_twice(pool):
    some, every = babble(pool, 2, 4), babble(pool, 9, 9)
    assert {len(heard(some, seed, SOMEBODY)) for seed in range(40)} == {2, 3, 4}
    assert all(len(heard(every, seed, SOMEBODY)) == 9 for seed in range(5))


def test_a_draw_depends_on_its_arguments_alone(pool):
    used, fresh = babble(pool, 2, 8), babble(pool, 2, 8)
    for seed in range(5):
        used(SPEECH_S, np.random.default_rng(seed), pool[0])
    assert np.array_equal(*(one(SPEECH_S, np.random.default_rng(9), pool[0]) for one in (used, fresh)))


def test_a_pool_that_is_too_small_gives_what_it_has_and_noise_of_probability_0_needs_none(pool):
    assert len(heard(babble(pool[:3], 6, 6), 0, SOMEBODY)) == 3
    assert DrawnNoise(NoiseConfig(probability=0))(SPEECH_S, np.random.default_rng(0), SOMEBODY) is SPEECH_S
    with pytest.raises(ValueError, match=r"noises\.babble: 0 voices with sound are left for utterance 'clip0', wanted"):
        babble(pool[:1], 2, 8)(SPEECH_S, np.random.default_rng(0), pool[0])
    with pytest.raises(ValueError, match=r"noises\.babble\.manifest is not set and kind=babble needs one"):
        babble([], 2, 8)


def test_broken_and_silent_files_are_replaced_and_named_once(tmp_path, pool, caplog):
    (tmp_path / "text.wav").write_text("this is no sound")
    write_wav(tmp_path / "silent.wav", np.zeros(1600, np.float32))
    bad = [Utterance(name, audio=tmp_path / name, speaker="bad") for name in ("text.wav", "silent.wav", "missing.wav")]
    noise = babble(pool + bad, 6, 6)
    assert all(len(heard(noise, seed, SOMEBODY)) == 6 for seed in range(20))
    for name in ("text.wav", "missing.wav"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1, name


def test_the_cache_stays_within_its_bytes_and_reads_each_file_once(tmp_path, pool, monkeypatch):
    from avspeech.media import audio

    reads: list[Path] = []
    monkeypatch.setattr(audio, "read_audio", lambda path, **part: reads.append(path) or read_audio(path, **part))
    recordings = Recordings(cache_bytes=2 * 3200)
    for n in (0, 1, 1, 0):
        assert len(recordings.steps(tmp_path / f"clip{n}.wav")) == 1600
    assert len(reads) == 2
    for n, count in ((2, 3), (0, 3), (1, 4)):  # 2 drops 1, the longest unused, though 0 was read first
        recordings.steps(tmp_path / f"clip{n}.wav")
        assert len(reads) == count
    assert len(Recordings(1).steps(tmp_path / "clip3.wav")) == 1600  # larger than the cache: still usable


def test_the_share_and_the_range_are_those_asked_for(pool):
    noises = {"babble": NoiseSpec("babble", num_voices=(2, 8)), "white": NoiseSpec("white")}
    noise, clean_S = DrawnNoise(NoiseConfig(0.3, (-5, 5), noises), pool), 0.1 * SPEECH_S
    added = [noise(clean_S, np.random.default_rng(seed), pool[0]) - clean_S for seed in range(400)]
    ratios = [20 * np.log10(rms(clean_S) / rms(added_S)) for added_S in added if added_S.any()]
    assert 90 < len(ratios) < 150 and -5.1 < min(ratios) < -4 and 4 < max(ratios) < 5.1


@pytest.mark.parametrize("name", ["babble", "talker", "white", "pink", "drop", "any", "hall"])
@pytest.mark.parametrize("rule", RULES)
def test_training_takes_every_noise_of_a_test(folder, name, rule):
    noise = DrawnNoise(NoiseConfig(1.0, (5, 5), {name: noises_of(folder)[name]}, rule))
    speech_S = read_audio(folder / "speech/t0.wav")
    mixed_S, again_S = (noise(speech_S, np.random.default_rng(0), SOMEBODY) for _ in range(2))
    assert mixed_S.dtype == np.float32 and mixed_S.shape == speech_S.shape
    assert np.array_equal(mixed_S, again_S) and not np.array_equal(mixed_S, speech_S)
    if name not in ("pink", "hall"):  # in the room, the speech itself is another
        assert 20 * np.log10(rms(speech_S) / rms(mixed_S - speech_S)) == pytest.approx(5, abs=0.1)


def test_musan_is_drawn_from_by_name_and_training_never_hears_the_test_split(tmp_path, folder):
    (tmp_path / "music/fma").mkdir(parents=True)
    for n in range(20):
        write_wav(tmp_path / f"music/fma/music-fma-{n:04}.wav", sound(n, 3000))
    music = {"music": NoiseSpec("musan", path=tmp_path, part="music")}
    files = {split: set(open_pools(music, split=split)["music"].files) for split in ("train", "valid", "test")}
    assert [len(found) for found in files.values()] == [16, 2, 2]
    assert not files["train"] & files["test"] and not files["valid"] & files["test"]
    assert set(DrawnNoise(NoiseConfig(1.0, noises=music))._sampler.pools["music"].files) == files["train"]


GOLDEN = {  # samples 100, 5000 and 11000 of the first mixes, to six digits: a change here changes every training run
    "babble": [[-0.095124, 0.012637, 0.031091], [0.090302, -0.003448, 0.095673], [0.016399, 0.023753, -0.022254],
               [-0.181732, -0.036469, 0.003448], [-0.129206, 0.015981, 0.0233], [0.116896, -0.010374, 0.074531]],
    "mixed": [[-0.102735, -0.078248, 0.020312], [0.072577, 0.002005, 0.111135], [0.029593, 0.033251, -0.00762],
              [-0.136995, -0.115448, 0.015181], [-0.028516, -0.018091, 0.011489], [0.120437, -0.060357, 0.099083]],
    "official": [[-0.0289, 0.075195, -0.055939], [-0.002014, 0.072601, 0.118469], [0.037567, 0.053497, -0.035065],
                 [-0.424042, 0.163147, 0.063324], [-0.187469, 0.085907, 0.055634], [0.156494, 0.062744, 0.006409]],
    "official mean": [[-0.105225, -0.001099, -0.02594], [0.07962, -0.014099, 0.036591],
                      [0.013916, 0.029846, -0.025787], [-0.207764, -0.0625, -0.140961]],
}  # fmt: skip


@pytest.mark.parametrize("case", GOLDEN)
def test_the_draws_stay(folder, case):
    files = NoiseSpec("folder", path=folder / "noise")
    mixed = {"b": NoiseSpec("babble", num_voices=(1, 3)), "w": NoiseSpec("white"), "f": files}
    config = {
        "babble": NoiseConfig(0.75, (-5, 20), {"b": NoiseSpec("babble", num_voices=(2, 8))}),  # the demo's
        "mixed": NoiseConfig(1.0, (-5, 5), mixed),
        "official": NoiseConfig(1.0, (0, 0), {"f": files}, "avhubert"),
        "official mean": NoiseConfig(1.0, (0, 0), {"f": replace(files, num_recordings=2)}, "avhubert"),
    }[case]
    voices = read_manifest(folder / "voices.jsonl")
    known = {one.id: one for one in (*voices, *read_manifest(folder / "test.jsonl"))}
    noise = DrawnNoise(config, voices)
    for seed, expected in enumerate(GOLDEN[case]):
        utterance = known[["t0", "t1", "v0", "v7"][seed % 4]]
        mixed_S = noise(read_audio(utterance.audio), np.random.default_rng([7, seed]), utterance)
        assert mixed_S[[100, 5000, 11_000]] == pytest.approx(expected, abs=2e-6)


def test_a_corpus_from_outside_joins_by_one_entry(tmp_path, folder, monkeypatch):
    monkeypatch.setitem(CORPORA, "rain", Corpus(lambda root, part, split: sorted(root.glob("*.wav"))))
    noise = DrawnNoise(NoiseConfig(1.0, noises={"rain": NoiseSpec("rain", path=folder / "noise")}))
    assert not np.array_equal(noise(SPEECH_S, np.random.default_rng(0), SOMEBODY), SPEECH_S)
