"""An offset of the samples costs no words, and of several sound tracks the one that fits is read."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech import transcribe
from avspeech.media.audio import read_audio, write_wav
from avspeech.media.container import find_tracks
from avspeech.media.errors import MediaError
from avspeech.timebase import SAMPLE_RATE
from avspeech.transcription import hearing
from avspeech.transcription import reading as module
from avspeech.transcription.formats import read_transcript
from avspeech.transcription.hearing import read_sounds, without_offset
from avspeech.transcription.reading import read_streams
from tests.media.conftest import encode, picture_frame, sound_frame
from tests.roi.test_speaking import face, syllables
from tests.roi.test_speaking import voice as sound_of
from tests.transcription.test_speech_activity import voice
from tests.transcription.test_streams import CUTTING, clips, followed  # noqa: F401 - fixtures

NUM = 75
VOICE_S = voice(3)
TIME_S = np.arange(len(VOICE_S)) / SAMPLE_RATE
OFFSETS = {
    "a tenth": np.full(len(VOICE_S), 0.1),
    "below zero": np.full(len(VOICE_S), -0.03),
    "from the middle on": np.where(TIME_S > 1.5, 0.2, 0.0),
    "drifting": 0.15 * np.sin(0.7 * TIME_S),
}


@pytest.mark.parametrize("name", OFFSETS)
def test_an_offset_is_taken_out_and_nothing_that_is_heard(name):
    offset_S = (VOICE_S + OFFSETS[name]).astype(np.float32)
    steady_S = without_offset(offset_S)
    assert steady_S.dtype == np.float32 and len(steady_S) == len(offset_S)
    seconds = steady_S[SAMPLE_RATE // 2 :].reshape(5, -1).mean(axis=1)
    assert np.abs(seconds).max() < 0.05 * np.abs(OFFSETS[name]).max()
    quiet_S = without_offset((0.01 * VOICE_S + OFFSETS[name]).astype(np.float32))
    assert np.abs(quiet_S[SAMPLE_RATE // 2 :].mean()) < 1e-3

    def heard(audio_S):
        return np.abs(np.fft.rfft(audio_S * np.hanning(len(audio_S))))[300:9000]  # 100 Hz to 3 kHz

    change = np.abs(heard(steady_S) - heard(VOICE_S)).sum() / heard(VOICE_S).sum()
    assert change < 0.06  # a step is heard as a click, and stays


@pytest.mark.parametrize("audio_S", [VOICE_S, np.zeros(5000, np.float32), np.zeros(0, np.float32), VOICE_S[:700]])
def test_sound_without_an_offset_stays_exact(audio_S):
    assert without_offset(audio_S) is audio_S


def test_it_is_filtered_in_blocks_as_at_once(monkeypatch):
    offset_S = VOICE_S + np.float32(0.1)
    whole_S = without_offset(offset_S)
    monkeypatch.setattr(hearing, "BLOCK", 1000)
    np.testing.assert_array_equal(without_offset(offset_S), whole_S)


def test_transcription_takes_it_out_and_exact_features_do_not(tmp_path):
    write_wav(tmp_path / "a.wav", VOICE_S + 0.1)
    stored_S = read_audio(tmp_path / "a.wav")
    exact, steady = (read_streams(tmp_path / "a.wav", "audio", CUTTING, exact_sound=one) for one in (True, False))
    np.testing.assert_array_equal(exact.audio_S, stored_S)
    np.testing.assert_array_equal(steady.audio_S, without_offset(stored_S))
    assert abs(float(stored_S.mean()) - 0.1) < 0.01 and abs(float(steady.audio_S.mean())) < 1e-3


def write_tracks(path: Path, sounds: list[np.ndarray], codec: str, video: str, default: int = 0) -> Path:
    """Write 3 s of grey pictures with these sounds."""
    with av.open(str(path), "w") as container:
        shown = container.add_stream(video, Fraction(25))
        shown.width = shown.height = 64
        shown.pix_fmt = "yuv420p"
        streams = [container.add_stream(codec, 48_000, layout="mono") for _ in sounds]
        for index, stream in enumerate(streams):
            stream.disposition = av.stream.Disposition.default if index == default else av.stream.Disposition(0)
        grey = np.full((64, 64, 3), 90, np.uint8)
        encode(container, shown, [picture_frame(grey, n, Fraction(1, 25)) for n in range(NUM)])
        for stream, audio_S in zip(streams, sounds, strict=True):
            fine_S = np.repeat(audio_S, 3)[None].astype(np.float32)
            frames = [sound_frame(fine_S[:, k : k + 1024], "fltp", rate=48_000, pts=k)
                      for k in range(0, fine_S.shape[1], 1024)]  # fmt: skip
            encode(container, stream, frames)
    return path


HUM_S = 0.1 * np.sin(2 * np.pi * 100 * TIME_S)
FILES = {  # name: codecs, sounds (True: a voice), which is read
    "two.mp4": ("aac", "libx264", (False, True), 2),
    "three.mkv": ("aac", "libx264", (False, False, True), 3),
    "first.mov": ("aac", "mpeg4", (True, False), 1),
    "none.mkv": ("aac", "mpeg4", (False, False), 1),
    "two.ts": ("aac", "libx264", (False, True), 2),
}


@pytest.mark.parametrize("name", FILES)
def test_of_several_tracks_the_one_with_a_voice_is_read_and_they_are_listed(name, tmp_path):
    codec, video, voiced, wanted = FILES[name]
    path = write_tracks(tmp_path / name, [VOICE_S if one else HUM_S for one in voiced], codec, video)
    streams = read_streams(path, "audio", CUTTING)
    assert streams.audio_S is not None and (streams.audio_S.std() > 0.01) and streams.has_speech == any(voiced)
    np.testing.assert_array_equal(streams.audio_S, read_audio(path, track=wanted))
    why = "the only one with speech" if any(voiced) else "the default"
    (note,) = [one for one in streams.notes("audio") if "sound tracks" in one]
    assert note.startswith(f"Of {len(voiced)} sound tracks (1 ")
    assert note.endswith(f"), {wanted} was read, {why}; --audio_track takes another.")
    given = read_streams(path, "audio", CUTTING, audio_track=len(voiced))
    np.testing.assert_array_equal(given.audio_S, read_audio(path, track=len(voiced)))
    assert not [one for one in given.notes("audio") if "sound tracks" in one]
    with pytest.raises(MediaError, match="sound track 9 was asked for"):
        read_streams(path, "audio", CUTTING, audio_track=9)


@pytest.mark.parametrize("wanted", [1, 2])
def test_of_two_voices_the_one_that_fits_the_lips_is_read(wanted, followed, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(hearing, "has_voice", lambda prob_T: True)  # the detector does not know these voices
    monkeypatch.setattr(module, "has_voice", lambda prob_T: True)
    openings = [syllables(NUM, seed) for seed in (3, 4)]
    path = write_tracks(tmp_path / "dubbed.mkv", [sound_of(one) for one in openings], "aac", "mpeg4", default=1)
    followed(face(20 * openings[wanted - 1]), num_frames=NUM)
    streams = read_streams(path, "audio+video", CUTTING)
    np.testing.assert_array_equal(streams.audio_S, read_audio(path, track=wanted))
    assert [one for one in streams.notes("audio+video") if f", {wanted} was read, its speech fits the lips;" in one]
    unseen = read_streams(path, "audio", CUTTING)
    np.testing.assert_array_equal(unseen.audio_S, read_audio(path))
    assert [one for one in unseen.notes("audio") if ", 2 was read, the default;" in one]


def test_a_track_that_cannot_be_read_leaves_the_others(tmp_path, monkeypatch):
    path = write_tracks(tmp_path / "two.mkv", [VOICE_S, VOICE_S], "aac", "mpeg4")
    sounds, read = find_tracks(path).sounds, read_audio

    def torn(path, notes, track):
        if track in bad:
            raise MediaError(path, "is torn")
        return read(path, notes, track)

    monkeypatch.setattr(hearing, "read_sound", torn)
    notes, bad = [], {1}
    assert list(read_sounds(path, sounds, notes).by_track) == [2] and notes == [
        "Sound track 1 cannot be read: is torn."
    ]
    bad = {1, 2}
    with pytest.raises(MediaError, match="is torn"):
        read_sounds(path, sounds, [])


def test_the_command_takes_a_track_by_number(run, tmp_path):
    path = write_tracks(tmp_path / "two.mkv", [HUM_S, VOICE_S], "aac", "mpeg4")
    said = run(path, "--modality", "audio", "--format", "json")
    assert "Of 2 sound tracks (1 " in said.err and "2 was read, the only one with speech" in said.err
    assert "2 was read" in " ".join(read_transcript("two.json").notes)
    first = run(path, "--modality", "audio", "--audio_track", 1)
    assert "Nobody is heard to speak." in first.err and "sound tracks" not in first.err and first.out == ""
    assert "choose one of: 1 " in run(path, "--modality", "audio", "--audio_track", 3, status=1).reasons[str(path)]


def test_an_offset_is_repaired_unless_that_is_declined():
    def parsed(*flags):
        return transcribe.make_parser().parse_args(["a.mp4", "--model", "demo", *flags]).repair_sync

    assert parsed() and parsed("--repair_sync") and not parsed("--no_repair_sync")
