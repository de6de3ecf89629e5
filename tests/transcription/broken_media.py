"""Small films and sounds in many containers, and damage to them."""

import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from avspeech.media.audio import write_wav
from tests.media.conftest import write as write_pictures
from tests.roi.conftest import picture
from tests.transcription.test_speech_activity import voice

SECONDS, RATE = 2, 12  # as few pictures a second as show speech
KINDS = {  # name -> codecs; a.wav comes with them; the index of late.mp4 stands at its end
    "late.mp4": ("libx264", "aac"), "fast.mp4": ("libx264", "aac"), "a.mov": ("mpeg4", "pcm_s16le"),
    "a.mkv": ("libx264", "aac"), "a.webm": ("libvpx", "libopus"), "a.avi": ("mpeg4", "mp2"),
    "a.mpg": ("mpeg2video", "mp2"),
}  # fmt: skip


def write_sound_files(folder: Path) -> None:
    openings = 0.5 - 0.5 * np.cos(1.5 * np.arange(SECONDS * RATE))
    pictures = [picture(96, 96, (48, 48, 76.8, opening)) for opening in openings]
    audio_S = voice(SECONDS)
    times_S = np.arange(SECONDS * 48_000) / 48_000
    fine_S = np.interp(times_S, np.arange(len(audio_S)) / 16_000, audio_S).astype(np.float32)
    for name, (codec, audio_codec) in KINDS.items():
        rate = Fraction(25) if name == "a.mpg" else Fraction(RATE)  # MPEG-2 knows few rates
        shown = pictures if rate == RATE else [pictures[number * RATE // 25] for number in range(SECONDS * 25)]
        options = {"movflags": "faststart"} if name in ("fast.mp4", "a.mov") else {}
        codecs = {"codec": codec, "audio_codec": audio_codec, "options": options}
        write_pictures(folder / name, shown, range(len(shown)), 1 / rate, rate, audio_S=fine_S, **codecs)
    write_wav(folder / "a.wav", audio_S)


def damage(whole: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with some flipped, with a stretch of zeros, or cut off; often in the header, where it hurts."""
    data = bytearray(whole)
    end = min(len(data), 1500) if rng.random() < 0.4 else len(data)
    way = rng.integers(4)
    if way == 0:
        return bytes(data[: rng.integers(len(data))])
    if way == 1:
        start = int(rng.integers(end))
        length = min(int(rng.integers(1, 2000)), len(data) - start)
        data[start : start + length] = bytes(length)
        return bytes(data)
    for _ in range(int(rng.choice([1, 3, 20, 200]))):
        place = int(rng.integers(end))
        data[place] = data[place] ^ (1 << int(rng.integers(8))) if way == 2 else int(rng.integers(256))
    return bytes(data)


def write_damaged(originals: list[Path], folder: Path, count: int, seed: int = 0) -> Iterator[Path]:
    """Write so many damaged files, of all kinds in turn, and yield them."""
    whole = {path: path.read_bytes() for path in originals}
    for number in range(count):
        original = originals[number % len(originals)]
        damaged = folder / f"{number:03}_{original.name}"
        damaged.write_bytes(damage(whole[original], np.random.default_rng((seed, number))))
        yield damaged


def write_bad_files(media: Path, folder: Path) -> dict[str, str]:
    """Write bad files into the folder, and return name -> pattern of the reason."""
    cut = ("fast.mp4", "a.mkv", "a.webm", "a.mov", "a.avi", "a.wav")
    reasons = {f"cut_{name}": "cut off" for name in cut} | {"cut_late.mp4": "not a media file"}
    for name in reasons:
        data = (media / name.removeprefix("cut_")).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("this is not a film\n" * 50)
    (folder / "subtitles.mkv").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    for name, codec, count in (("no.mp4", "libx264", 0), ("one.mkv", "mpeg4", 1), ("few.mkv", "mpeg4", 9)):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, 25)
            stream.width = stream.height = 64
            stream.pix_fmt = "yuv420p"
            container.start_encoding()
            for _ in range(count):
                container.mux(stream.encode(av.VideoFrame(64, 64, "yuv420p")))
            container.mux(stream.encode(None) if count else [])
    cv2.imwrite(str(folder / "still.jpg"), np.full((4320, 7680, 3), 90, np.uint8))
    os.mkfifo(folder / "pipe.wav")
    (folder / "dead.mp4").symlink_to("nowhere")
    return reasons | {
        "empty.mp4": r"is empty \(0 bytes\)", "text.mp4": "not a media file", "few.mkv": "only 9 frames",
        "subtitles.mkv": "neither a sound track nor a picture", "no.mp4": "neither a sound track nor a picture",
        "one.mkv": "is a still picture", "still.jpg": "is a still picture", "pipe.wav": "is no file",
        "dead.mp4": "No such file", "missing.mp4": "No such file", "x" * 300 + ".mp4": "name too long",
        "folder.mp4": "folder without media files", "*.nothing": "no file matches",
        "a.wav/below.mp4": "Not a directory",
    }  # fmt: skip
