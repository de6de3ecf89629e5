"""Sound that does not fit into memory reads as sound that does."""

import tempfile
import time
from fractions import Fraction

import numpy as np
import pytest

from avspeech.media import confined
from avspeech.media import sound as module
from avspeech.media.audio import read_audio, read_sound, write_wav
from avspeech.media.errors import MediaError
from avspeech.media.reading import safe_decoding
from avspeech.media.sound import SoundWriter, StoredSound, collect, silence
from avspeech.transcription.hearing import without_offset
from avspeech.transcription.reading import read_streams
from avspeech.transcription.who_speaks import shift_sound
from tests.media.conftest import picture_of, write
from tests.refusals import raises
from tests.transcription.test_speech_activity import voice
from tests.transcription.test_streams import CUTTING

SOUND_S = (1.5 * np.random.default_rng(0).standard_normal(300_000)).astype(np.float32)


def written(in_memory: float, sizes: tuple[int, ...] = (1, 999, 3000, 250_000), divisor: float | None = None):
    writer, start = SoundWriter(in_memory), 0
    for size in (*sizes, len(SOUND_S) - sum(sizes)):
        writer.write(SOUND_S[start : start + size])
        start += size
    return writer.finish(divisor)


@pytest.mark.parametrize("in_memory", [0, 1000, 100_000, 299_999])
@pytest.mark.parametrize("divisor", [None, 1.0, 4.0])
def test_stored_sound_reads_as_an_array(in_memory, divisor):
    stored, array_S = written(in_memory, divisor=divisor), written(np.inf, divisor=divisor)
    assert isinstance(stored, StoredSound) and isinstance(array_S, np.ndarray)
    expected_S = SOUND_S if divisor is None else np.clip(SOUND_S / np.float32(divisor), -1, 1)
    np.testing.assert_array_equal(array_S, expected_S)
    assert len(stored) == len(array_S) and stored.shape == array_S.shape
    np.testing.assert_array_equal(np.asarray(stored), array_S)
    for where in (slice(5, 70_000), slice(-9, None), slice(299_990, 400_000), slice(8, 3), slice(400_000, 500_000)):
        np.testing.assert_array_equal(stored[where], array_S[where])


@pytest.mark.parametrize("frames", [-3, 0, 7, -1000, 1000])
def test_stored_sound_shifts_as_an_array(frames):
    stored, array_S = shift_sound(written(0), frames), shift_sound(SOUND_S, frames)
    for where in (slice(None), slice(0, 3000), slice(-3000, None), slice(100, 200)):
        np.testing.assert_array_equal(stored[where], array_S[where])
    np.testing.assert_array_equal(shift_sound(shift_sound(written(0), 2), frames)[:], shift_sound(stored, 2)[:])


@pytest.mark.parametrize("in_memory", [0, 1500, np.inf])
def test_a_day_of_silence_takes_no_time_and_no_room(in_memory):
    length = 1000 if in_memory == np.inf else 24 * 3600 * 16_000
    sound = collect([SOUND_S[:1000], silence(length), SOUND_S[1000:2000], silence(length), 4.0], in_memory)
    assert len(sound) == 2 * (1000 + length)
    expected_S = np.clip(SOUND_S[:2000] / 4, -1, 1)
    np.testing.assert_array_equal(sound[:1000], expected_S[:1000])
    np.testing.assert_array_equal(sound[1000 + length - 5 : 2000 + length + 5][5:-5], expected_S[1000:])
    assert not sound[1000:2000].any() and not sound[-1000:].any()


def test_a_sound_that_begins_hours_after_the_picture_is_read_soon(tmp_path):
    picture = [picture_of(1, 32, 48)]
    write(tmp_path / "a.mp4", picture, [0], Fraction(1, 25), audio_S=voice(1), audio_rate=16_000,
          audio_start_s=Fraction(15 * 3600))  # fmt: skip
    began_s = time.process_time()
    sound = confined.read_sound(tmp_path / "a.mp4", [])
    assert time.process_time() - began_s < 2 and len(sound) / 16_000 == pytest.approx(15 * 3600 + 1, abs=0.3)
    assert np.abs(sound[-16_000:]).max() > 0.1 and not np.abs(sound[: 10**6]).any()


def test_a_step_is_refused():
    raises(ValueError, "a step of 2 came", lambda: written(0)[::2])


def test_a_full_disk_is_said(monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda buffering: open("/dev/full", "r+b", buffering))  # noqa: PTH123, SIM115
    with pytest.raises(MediaError, match=r"has no room for 1,016,000 bytes of sound or more \(No space .* set TMPDIR"):
        written(299_999)


@pytest.mark.parametrize("safe", [False, True])
def test_long_sound_is_transcribed_from_disk_as_from_memory(safe, tmp_path, monkeypatch):
    audio_S = np.concatenate([voice(1.5, 0), np.zeros(24_000, np.float32), voice(2.0, 1)])
    write_wav(tmp_path / "a.wav", audio_S + np.float32(0.1))
    with safe_decoding(safe):
        one, _ = read_streams(tmp_path / "a.wav", "audio", CUTTING), monkeypatch.setattr(module, "IN_MEMORY", 20_000)
        other = read_streams(tmp_path / "a.wav", "audio", CUTTING)
    assert isinstance(one.audio_S, np.ndarray) and isinstance(other.audio_S, StoredSound)
    np.testing.assert_array_equal(one.audio_S, np.asarray(other.audio_S))
    assert one.segments == other.segments and len(one.segments) == 2
    np.testing.assert_array_equal(one.speech_T, other.speech_T)
    for segment in one.segments:
        np.testing.assert_array_equal(one.sound(segment), other.sound(segment))


@pytest.mark.parametrize("read", [read_sound, confined.read_sound])
def test_channels_that_cancel_and_another_scale_hold_for_stored_sound(read, tmp_path, monkeypatch):
    from scipy.io import wavfile

    both_SC = np.stack([voice(2), -voice(2)], axis=1) * np.float32(2**15)
    wavfile.write(tmp_path / "a.wav", 16_000, np.rint(both_SC).astype(np.float32))
    notes: list[str] = []
    whole_S, _ = read_audio(tmp_path / "a.wav", []), monkeypatch.setattr(module, "IN_MEMORY", 5000)
    stored = read(tmp_path / "a.wav", notes)
    assert isinstance(stored, StoredSound) and len(notes) == 2
    np.testing.assert_array_equal(whole_S, np.asarray(stored))
    assert np.abs(whole_S).max() == pytest.approx(np.abs(voice(2)).max(), rel=0.01)


def test_an_offset_is_taken_out_of_stored_sound():
    offset_S = voice(30) + np.float32(0.2)
    stored = collect([offset_S[:100_000], offset_S[100_000:], 1.0], 10_000)
    steady = without_offset(stored)
    assert isinstance(stored, StoredSound)
    np.testing.assert_array_equal(np.asarray(steady), np.asarray(without_offset(collect([offset_S, 1.0]))))
