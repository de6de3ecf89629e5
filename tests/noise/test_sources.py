"""Noise sources: who is heard, that a draw depends on its arguments alone, and what happens to bad files."""

from pathlib import Path

import numpy as np
import pytest

from avspeech.media.audio import write_wav
from avspeech.noise import audio_cache
from avspeech.noise.audio_cache import AudioCache
from avspeech.noise.mixing import KINDS, NoiseConfig, rms
from avspeech.noise.sources import BabbleSource, FileSource, TrainingNoise, Voice, WhiteSource, make_source


def tone(frequency: int, num_samples: int = 1600) -> np.ndarray:
    return (0.1 * np.sin(2 * np.pi * frequency * np.arange(num_samples) / 16_000)).astype(np.float32)


def heard(noise_S: np.ndarray) -> set[int]:
    """The frequencies (multiples of 100 Hz) of the voices in 0.1 s of babble of tones."""
    level = np.abs(np.fft.rfft(noise_S[:1600]))
    return {10 * int(place) for place in np.flatnonzero(level > 0.2 * level.max())}


@pytest.fixture
def pool() -> list[Voice]:
    """Nine clips, three of each speaker; clip n is a tone of n + 1 hundred Hertz."""
    return [Voice(f"clip{n}", tone(100 * (n + 1)), f"speaker{n // 3}") for n in range(9)]


def test_the_targets_speaker_is_never_heard_where_there_are_others(pool):
    source, voices = BabbleSource(pool, (1, 6)), set()
    for seed in range(60):
        voices |= heard(source.draw(1600, np.random.default_rng(seed), "speaker1", "clip4"))
    assert voices == {100, 200, 300, 700, 800, 900}


def test_an_utterance_is_never_heard_in_its_own_babble(pool):
    single = [Voice(voice.id, voice.audio, "s1") for voice in pool]
    source, voices = BabbleSource(single, (1, 8)), set()
    for seed in range(60):
        voices |= heard(source.draw(1600, np.random.default_rng(seed), "s1", "clip4"))
    assert voices == {100, 200, 300, 400, 600, 700, 800, 900}


def test_an_utterance_without_speaker_excludes_itself_only(pool):
    assert len(BabbleSource(pool).candidates(None, "clip0")) == 8
    assert len(BabbleSource(pool).candidates("somebody else", "of another corpus")) == 9


def test_six_voices_are_six_different_voices(pool):
    source = BabbleSource(pool, (6, 6))
    for seed in range(20):
        assert len(heard(source.draw(1600, np.random.default_rng(seed)))) == 6


def test_the_number_of_voices_covers_its_range(pool):
    source = BabbleSource(pool, (2, 4))
    assert {len(heard(source.draw(1600, np.random.default_rng(seed)))) for seed in range(60)} == {2, 3, 4}


def test_a_draw_depends_on_its_arguments_alone(pool):
    used, fresh = BabbleSource(pool), BabbleSource(pool)
    for seed in range(5):
        used.draw(800, np.random.default_rng(seed))
    assert np.array_equal(
        used.draw(800, np.random.default_rng(9), "speaker0", "clip0"),
        fresh.draw(800, np.random.default_rng(9), "speaker0", "clip0"),
    )


def test_a_pool_of_the_utterance_alone_is_named_in_the_error(pool):
    with pytest.raises(ValueError, match=r"'clip0' of speaker 'speaker0' \(0 of 1 clips allowed\)"):
        BabbleSource(pool[:1]).draw(800, np.random.default_rng(0), "speaker0", "clip0")


def test_an_empty_pool_and_an_id_twice_are_errors(pool):
    with pytest.raises(ValueError, match="babble got no voices"):
        BabbleSource([])
    with pytest.raises(ValueError, match="two voices with the same id"):
        BabbleSource([pool[0], pool[0]])


def test_broken_and_silent_files_are_replaced_and_the_draw_stays_the_same(tmp_path, pool, caplog):
    (tmp_path / "text.wav").write_text("this is no sound")
    write_wav(tmp_path / "silent.wav", np.zeros(1600, np.float32))
    bad = [Voice(name, tmp_path / name, "bad") for name in ("text.wav", "silent.wav", "missing.wav")]
    source = BabbleSource(pool + bad, (6, 6))
    first = [source.draw(1600, np.random.default_rng(seed)) for seed in range(20)]
    assert all(len(heard(noise_S)) == 6 for noise_S in first)
    again = [source.draw(1600, np.random.default_rng(seed)) for seed in range(20)]
    assert all(np.array_equal(*pair) for pair in zip(first, again, strict=True))
    for name in ("text.wav", "silent.wav", "missing.wav"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1, name


def test_recordings_start_anywhere_and_repeat(tmp_path):
    write_wav(tmp_path / "noise.wav", np.linspace(-0.5, 0.5, 1000, dtype=np.float32))
    source = FileSource([str(tmp_path / "noise.wav")])
    draws = [source.draw(2500, np.random.default_rng(seed)) for seed in range(8)]
    assert len({float(noise_S[0]) for noise_S in draws}) == 8
    assert all(np.array_equal(noise_S[:1000], noise_S[1000:2000]) for noise_S in draws)


def test_recordings_that_cannot_be_read_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="no noise file of 1 tried"):
        FileSource([tmp_path / "missing.wav"]).draw(100, np.random.default_rng(0))
    with pytest.raises(ValueError, match="got no files"):
        FileSource([])


def test_white_noise_has_the_length_asked_for():
    assert WhiteSource().draw(123, np.random.default_rng(0)).shape == (123,)


def test_every_kind_has_a_source(pool):
    for kind in KINDS:
        noise_S = make_source(kind, pool, [tone(100)]).draw(400, np.random.default_rng(0))
        assert noise_S.dtype == np.float32
        assert noise_S.shape == (400,)
    with pytest.raises(ValueError, match="noise kind 'babel' came"):
        make_source("babel", pool)


def test_the_cache_stays_within_its_bytes_and_reads_each_file_once(tmp_path, monkeypatch):
    reads: list[Path] = []
    for n in range(4):
        write_wav(tmp_path / f"{n}.wav", tone(100, 1000))

    from avspeech.media import audio

    read_audio = audio.read_audio
    monkeypatch.setattr(audio, "read_audio", lambda path: reads.append(path) or read_audio(path))
    cache = AudioCache(max_bytes=2 * 2000)
    for n in (0, 1, 1, 0):
        assert np.abs(cache.get(tmp_path / f"{n}.wav") - tone(100, 1000)).max() < 2 / 32768
    assert len(reads) == 2
    cache.get(tmp_path / "2.wav")  # drops 1, the longest unused, though 0 was read first
    cache.get(tmp_path / "0.wav")
    assert len(reads) == 3
    cache.get(tmp_path / "1.wav")
    assert len(reads) == 4
    assert cache.num_bytes <= 4000
    assert audio_cache.AudioCache(1).get(tmp_path / "3.wav") is not None  # larger than the cache: still usable


def test_training_noise_hits_the_share_and_the_range_it_was_told(pool):
    noise = TrainingNoise(NoiseConfig(probability=0.3, snr_db=(-5, 5), kinds=("babble", "white")), pool)
    clean_S, ratios = tone(5000), []
    for seed in range(400):
        mixed_S = noise(clean_S, np.random.default_rng(seed), "speaker0", "clip0")
        if mixed_S is not clean_S:
            ratios.append(20 * np.log10(rms(clean_S) / rms(mixed_S - clean_S)))
    assert 90 < len(ratios) < 150
    assert -5.1 < min(ratios) < -4
    assert 4 < max(ratios) < 5.1


def test_noise_of_probability_0_needs_no_voices():
    clean_S = tone(100)
    assert TrainingNoise(NoiseConfig(probability=0))(clean_S, np.random.default_rng(0)) is clean_S
    with pytest.raises(ValueError, match="babble got no voices"):
        TrainingNoise(NoiseConfig())
