"""The mix of the channels carries the speech, whatever the other channels do; samples come to full scale 1."""

from pathlib import Path

import av
import numpy as np
import pytest
from scipy.io import wavfile

from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from tests.media.conftest import encode, sound_frame
from tests.refusals import raises

RATE = 16_000
SECONDS = 3


def speech(seed: int = 0) -> np.ndarray:
    """Return syllables of noise, four a second, with pauses, above a quiet room."""
    rng = np.random.default_rng(seed)
    noise_S = rng.standard_normal(SECONDS * RATE)
    envelope_S = np.maximum(np.sin(2 * np.pi * 2 * np.arange(SECONDS * RATE) / RATE), 0) ** 2
    envelope_S[RATE : RATE + RATE // 2] = 0
    return (0.1 * noise_S * (envelope_S + 0.003)).astype(np.float32)


def hiss(level: float, seed: int = 9) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(SECONDS * RATE)).astype(np.float32)


def write_channels(path: Path, sound_CS: np.ndarray, layout: str = "stereo", codec: str = "pcm_s16le") -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, RATE, layout=layout)
        kind = stream.codec_context.format.name
        samples_CS = (
            np.round(sound_CS * 32767).astype(np.int16) if kind.startswith("s16") else sound_CS.astype(np.float32)
        )
        packed = not kind.endswith("p")
        pieces = ((k, samples_CS[:, k : k + 1000]) for k in range(0, sound_CS.shape[1], 1000))
        shaped = ((k, piece.T.reshape(1, -1) if packed else np.ascontiguousarray(piece)) for k, piece in pieces)
        encode(container, stream, [sound_frame(piece, kind, layout, RATE, k) for k, piece in shaped])
    return path


def likeness(audio_S: np.ndarray, of_S: np.ndarray) -> float:
    """Return the correlation, whatever the sign."""
    length = min(len(audio_S), len(of_S))
    return abs(float(np.corrcoef(audio_S[:length], of_S[:length])[0, 1]))


@pytest.mark.parametrize(
    ("name", "codec"), [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.mkv", "pcm_s16le")]
)
def test_opposite_channels_do_not_cancel(name, codec, tmp_path):
    voice_S, notes = speech(), []
    audio_S = read_audio(write_channels(tmp_path / name, np.stack([voice_S, -voice_S]), codec=codec), notes)
    assert likeness(audio_S, voice_S) > 0.99
    assert audio_S.std() == pytest.approx(voice_S.std(), rel=0.05)
    assert notes == ["The 2 sound channels together cancel or hide the speech: 1, 2 (turned) read alone."]


@pytest.mark.parametrize("gain", [-0.5, -0.8, -1.25])
def test_channels_of_opposite_sign_and_other_level_do_not_cancel(gain, tmp_path):
    voice_S = speech()
    path = write_channels(tmp_path / "a.wav", np.stack([voice_S, gain * voice_S]) + [[0], [1]] * hiss(1e-3))
    audio_S = read_audio(path, [])
    assert likeness(audio_S, voice_S) > 0.98 and audio_S.std() > 0.7 * voice_S.std()


@pytest.mark.parametrize("level", [0.02, 0.1])
@pytest.mark.parametrize("voice_on", [0, 1])
def test_a_voice_in_one_channel_is_not_buried_by_the_other(level, voice_on, tmp_path):
    voice_S, notes = speech(), []
    channels = [voice_S, hiss(level)]
    audio_S = read_audio(write_channels(tmp_path / "a.wav", np.stack(channels[:: 1 if voice_on == 0 else -1])), notes)
    assert likeness(audio_S, voice_S) > 0.999
    assert len(notes) == 1 and f"speech: {voice_on + 1} read alone" in notes[0]


@pytest.mark.parametrize("layout", ["5.1", "quad", pytest.param("7.1", marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", ["front pair opposite", "bass only", "one among noise"])
def test_more_channels_carry_the_voice_too(layout, case, tmp_path):
    count = {"5.1": 6, "7.1": 8, "quad": 4}[layout]
    voice_S = speech()
    sound_CS = np.zeros((count, len(voice_S)), np.float32)
    if case == "front pair opposite":
        sound_CS[:2] = voice_S, -voice_S
    elif case == "bass only":
        sound_CS[3] = voice_S
    else:
        sound_CS[:] = [hiss(0.05, seed) for seed in range(count)]
        sound_CS[count - 2] = voice_S
    audio_S = read_audio(write_channels(tmp_path / "a.wav", sound_CS, layout), [])
    assert likeness(audio_S, voice_S) > 0.99 and audio_S.std() > 0.2 * voice_S.std()


@pytest.mark.parametrize("case", ["in phase", "one silent", "two rooms", "two speakers in turn", "a little hiss"])
def test_the_usual_mix_is_kept_bit_for_bit_where_it_carries_the_speech(case, tmp_path):
    voice_S, other_S, notes = speech(), speech(5), []
    turns_S = (np.arange(len(voice_S)) // RATE % 2 == 0).astype(np.float32)
    sound_CS = {
        "in phase": np.stack([voice_S, voice_S]),
        "one silent": np.stack([voice_S, 0 * voice_S]),
        "two rooms": np.stack([voice_S + hiss(1e-3), np.roll(voice_S, 20) + hiss(1e-3, 8)]),
        "two speakers in turn": np.stack([voice_S * turns_S, other_S * (1 - turns_S)]) + hiss(3e-4),
        "a little hiss": np.stack([voice_S, hiss(5e-4)]),
    }[case]
    audio_S = read_audio(write_channels(tmp_path / "a.wav", sound_CS), notes)
    stored_CS = np.round(sound_CS * 32767).astype(np.int16).astype(np.float32)
    np.testing.assert_array_equal(audio_S, (np.full(2, 0.5) / 2**15 @ stored_CS).astype(np.float32))
    assert notes == []


@pytest.mark.parametrize("bits", [16, 24, 32])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integers_that_were_stored_as_floats_come_to_full_scale(bits, dtype, tmp_path):
    voice_S, notes = speech() * 2, []
    whole_S = np.round(voice_S * 2.0 ** (bits - 1)).astype(dtype)
    wavfile.write(tmp_path / "a.wav", RATE, whole_S)
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", notes), voice_S, atol=2.0**-14)
    assert len(notes) == 1 and f"divided by {2 ** (bits - 1):,}" in notes[0]


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_scaled_floats_that_are_not_whole_come_to_full_scale(rate, tmp_path):
    wave_S = np.sin(2 * np.pi * 300 * np.arange(2 * rate) / rate) * 11_000.3
    wavfile.write(tmp_path / "a.wav", rate, wave_S.astype(np.float32))
    audio_S = read_audio(tmp_path / "a.wav", [])
    assert np.abs(audio_S[1000:-1000]).max() == pytest.approx(11_000 / 2**15, rel=0.02)


def test_samples_of_no_scale_are_an_error(tmp_path):
    wavfile.write(tmp_path / "a.wav", RATE, (speech() * 1e20).astype(np.float32))
    raises(MediaError, r"samples up to \d\.\d+e\+19, wanted at most 1", read_audio, tmp_path / "a.wav")


def test_loud_floats_are_clipped_as_before(tmp_path):
    loud_S = speech() / np.abs(speech()).max() * 1.9
    loud_S[100] = 40.0  # a fault of one sample says nothing about the scale
    wavfile.write(tmp_path / "a.wav", RATE, loud_S)
    notes: list[str] = []
    np.testing.assert_array_equal(read_audio(tmp_path / "a.wav", notes), np.clip(loud_S, -1, 1))
    assert notes == []


def test_sound_that_is_only_loud_keeps_its_scale(tmp_path):
    loud_S = speech() / np.abs(speech()).max() * 4.3
    wavfile.write(tmp_path / "a.wav", RATE, loud_S.astype(np.float32))
    notes: list[str] = []
    np.testing.assert_allclose(read_audio(tmp_path / "a.wav", notes), loud_S / 4.3, atol=1e-6)
    assert len(notes) == 1 and "divided by 4.3" in notes[0]


@pytest.mark.parametrize("rate", [1, 40, 49, 200])
def test_odd_rates_are_read(rate, tmp_path):
    wavfile.write(tmp_path / "a.wav", rate, np.arange(-40, 40, dtype=np.int16).reshape(-1, 2) * 300)
    assert len(read_audio(tmp_path / "a.wav", [])) == -(-40 * 16_000 // rate)
