"""Recordings that were joined end to end, and clocks that restart: everything is read, sound and picture together."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from avspeech.media.audio import read_audio
from avspeech.media.video import read_frames, read_pictures
from tests.media.conftest import encode, number_of, picture_of, sound_frame, write

LENGTHS = (40, 50, 30)  # frames of the parts; picture and sound mark frame 10 of each
MARK = 10


def make_part(path: Path, index: int, codec: str, audio_codec: str, rate: int, **options) -> Path:
    length, first = LENGTHS[index], 60 * index
    sound_S = np.zeros(length * rate // 25, np.float32)
    sound_S[MARK * rate // 25 :][: rate // 100] = 0.8 * np.sin(np.arange(rate // 100) * 2 * np.pi * 800 / rate)
    pictures = [picture_of(first + k) for k in range(length)]
    write(path, pictures, range(length), Fraction(1, 25), codec=codec, audio_S=sound_S, audio_rate=rate,
          audio_codec=audio_codec, options=options)  # fmt: skip
    return path


def join(path: Path, parts: list[Path]) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def marks(audio_S: np.ndarray) -> list[float]:
    """Return the times of the clicks in frames."""
    loud = np.flatnonzero(np.abs(audio_S) > 0.2)
    starts = loud[np.diff(loud, prepend=-9000) > 8000]
    return (starts / 640).tolist()


@pytest.mark.parametrize(
    ("ending", "codec", "audio_codec"),
    [("ts", "libx264", "aac"), ("mpg", "mpeg1video", "mp2"), ("mkv", "libx264", "pcm_s16le"),
     ("flv", "flv", "aac"), ("mp4", "libx264", "aac"),
     pytest.param("avi", "mpeg4", "pcm_s16le", marks=pytest.mark.slow),
     pytest.param("webm", "libvpx", "libopus", marks=pytest.mark.slow)],
)  # fmt: skip
def test_joined_recordings_are_read_to_the_end_with_sound_and_picture_together(ending, codec, audio_codec, tmp_path):
    rate = 44_100 if ending == "flv" else 48_000
    parts = [make_part(tmp_path / f"{k}.{ending}", k, codec, audio_codec, rate) for k in range(3)]
    notes: list[str] = []
    joined = join(tmp_path / f"joined.{ending}", parts)
    audio_S = read_audio(joined, notes)
    numbers = [number_of(picture.grey()) for picture in read_pictures(joined, notes)]
    assert sorted(set(numbers)) == [60 * k + n for k in range(3) for n in range(LENGTHS[k])]
    assert numbers == sorted(numbers)
    shown = [numbers.index(60 * k + MARK) for k in range(3)]
    np.testing.assert_allclose(marks(audio_S), shown, atol=1.5)
    alone = [shown[0], *(step - length for step, length in zip(np.diff(shown), LENGTHS, strict=False))]
    assert max(alone) <= MARK + 3  # what follows, follows closely
    assert sum(LENGTHS) <= len(audio_S) / 640 + 1 <= sum(LENGTHS) + 6
    told = [note for note in notes if "joined" in note]
    assert len(told) == 2 and "1.6" in told[0] and "3.6" in told[1]


@pytest.mark.parametrize(
    ("ending", "codec"), [("opus", "libopus"), ("oga", "flac"), ("flac", "flac"), ("wav", "pcm_s16le")]
)
def test_joined_sound_is_read_to_the_end(ending, codec, tmp_path):
    for index in range(3):
        with av.open(str(tmp_path / f"{index}.{ending}"), "w", format={"oga": "ogg"}.get(ending)) as container:
            stream = container.add_stream(codec, 48_000, layout="mono")
            kind = stream.codec_context.format.name
            tone_S = 0.3 * np.sin(np.arange(48_000) * 2 * np.pi * (400 + 300 * index) / 48_000)
            tone_S = np.round(tone_S * 32767).astype(np.int16) if kind.startswith("s16") else tone_S.astype(np.float32)
            chunks = range(0, 48_000, 960)
            encode(
                container, stream, [sound_frame(tone_S[None, k : k + 960], kind, rate=48_000, pts=k) for k in chunks]
            )
    notes: list[str] = []
    audio_S = read_audio(join(tmp_path / f"j.{ending}", [tmp_path / f"{k}.{ending}" for k in range(3)]), notes)
    assert len(audio_S) == pytest.approx(48_000, abs=800)
    for index in range(3):
        middle_S = audio_S[16_000 * index + 4000 :][:8000]
        assert np.abs(np.fft.rfft(middle_S)).argmax() * 2 == pytest.approx(400 + 300 * index, abs=2)
    assert len(notes) == 2 and "1.00 s" in notes[0] and "2.00 s" in notes[1]


def test_parts_may_differ_in_rate(tmp_path):
    parts = [
        make_part(tmp_path / f"{k}.mkv", k, "libx264", "pcm_s16le", rate) for k, rate in ((0, 48_000), (1, 16_000))
    ]
    joined = join(tmp_path / "joined.mkv", parts)
    np.testing.assert_allclose(marks(read_audio(joined)), [MARK, 40 + MARK], atol=0.5)
    assert len(list(read_frames(joined))) == 90


def test_one_recording_gets_no_note(tmp_path):
    notes: list[str] = []
    for ending, codec, audio_codec in (("ts", "libx264", "aac"), ("mkv", "libx264", "pcm_s16le")):
        path = make_part(tmp_path / f"one.{ending}", 0, codec, audio_codec, 48_000)
        read_audio(path, notes)
        list(read_pictures(path, notes))
    assert notes == []


def box(kind: bytes, content: bytes) -> bytes:
    return (len(content) + 8).to_bytes(4) + kind + content


INNER = b"\0\0\0\x18ftypheic" + bytes(600)
EBML = b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\x82\x88matroska" + bytes(600)
HEALTHY = {  # changes that leave a file one recording, though the start of another is in it
    "preview.mp4": lambda whole: whole + box(b"uuid", bytes(16) + INNER),
    "free.mov": lambda whole: whole + box(b"free", INNER),
    "void.mkv": lambda whole: whole + b"\xec\x42\x58" + EBML[:600],
}  # fmt: skip


@pytest.mark.parametrize("name", HEALTHY)
def test_the_start_of_a_recording_inside_another_does_not_end_it(name, tmp_path):
    codecs = ("libx264", "pcm_s16le" if name.endswith("mkv") else "aac")
    path, notes = make_part(tmp_path / f"0.{name}", 0, *codecs, 48_000), []
    alone = read_audio(path)
    (tmp_path / name).write_bytes(HEALTHY[name](path.read_bytes()))
    assert np.array_equal(read_audio(tmp_path / name, notes), alone) and notes == []
    assert len(list(read_frames(tmp_path / name))) == LENGTHS[0]


def test_sound_that_holds_the_header_of_a_sound_file_is_read_whole(tmp_path):
    samples = np.zeros((1, 16_000), np.int16)
    samples[0, 4000:4022] = np.frombuffer(b"RIFF" + (32_036).to_bytes(4, "little") + b"WAVEfmt " + bytes(28), np.int16)
    with av.open(str(tmp_path / "a.wav"), "w") as sound:
        stream = sound.add_stream("pcm_s16le", 16_000, layout="mono")
        encode(sound, stream, [sound_frame(samples, "s16")])
    assert len(read_audio(tmp_path / "a.wav")) == 16_000


@pytest.mark.parametrize(("name", "codec"), [("a.webm", "libvpx"), ("a.mkv", "libx264"), ("a.mp4", "libx264")])
def test_a_joined_recording_that_is_broken_costs_no_other(name, codec, tmp_path):
    sound = {"webm": "libopus", "mkv": "pcm_s16le", "mp4": "aac"}[name[2:]]
    path, notes = make_part(tmp_path / name, 0, codec, sound, 48_000), []
    alone = read_audio(path)
    (tmp_path / f"b.{name}").write_bytes(path.read_bytes() + path.read_bytes()[:200])
    assert len(read_audio(tmp_path / f"b.{name}", notes)) == len(alone)
    assert [note for note in notes if "left out" in note and f"byte {path.stat().st_size:,}" in note]
