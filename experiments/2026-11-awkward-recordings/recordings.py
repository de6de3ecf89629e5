"""Awkward recordings beside what is right for each: joined, mirrored, without a voice, cut off, of odd headers."""

import json
import re
import resource
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from avspeech import load_model
from avspeech.data.limits import check_alignable
from avspeech.manifest import ManifestError, read_manifest, read_tsv
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.media.video import read_frames, read_grey_clip
from avspeech.roi.lips import extract_lips
from avspeech.roi.track import NoFace
from avspeech.text.tokenizer import Tokenizer
from avspeech.transcription.speech_model import SpeechModel

LIPS = "what the model reads from the lips of the clip for B"
B, C, D = "show some white flowers tomorrow", "follow five yellow maps now", "show many white boxes again"


@dataclass(frozen=True)
class Case:
    """A file, how it is transcribed, and what is right: words, or else a note or error that matches."""

    file: str
    words: str | None = None
    or_says: str | None = None
    modality: str | None = None
    and_says: str | None = None
    """What must be said beside the words."""


CASES = (
    Case("joined.ts", f"{B} {C} {D}", r"restart"),
    Case("mirrored.mp4", B),
    Case("mirrored.mp4", LIPS, modality="video"),
    Case("no_voice.mov", LIPS, and_says=r"nobody is heard"),
    Case("fps15.mp4", B, r"pictures a second"),
    Case("sound_200ms_late.mp4", B, r"sound|lips"),
    Case("voice_over.mp4", B, r"lips|face"),
    Case("sound_after_75s.mkv", B),
    Case("slides_70s.mp4", B),
    Case("pipe_7ffff000.wav", B),
    Case("empty_sound.mkv", LIPS, and_says=r"no sound"),
    Case("inverted.mp4", B, modality="audio"),
    Case("turned.webm", f"{B} {C}"),
    Case("float_of_integers.wav", B, r"sample"),
    Case("music_then_voice.mp4", B, r"sound tracks"),
    Case("music_then_voice.mp4", B, r"sound tracks", modality="audio"),
    Case("cut_off.mp3", None, r"cut off"),
    Case("offset_10_percent.wav", B),
    Case("stamps_wobble.mkv", B, modality="audio"),
    Case("face_leaves_no_sound.mp4", "show some white", r"face"),
    Case("unknown_picture.mp4", B, and_says=r"cannot be decoded"),
)


def transcribed(model: SpeechModel, folder: Path, case: Case, by_lips: str) -> tuple[bool, str]:
    """Return whether the result is right, and what came."""
    try:
        transcript = model.transcribe(folder / case.file, modality=case.modality)  # type: ignore[arg-type]
    except MediaError as error:
        return case.or_says is not None and bool(re.search(case.or_says, str(error), re.IGNORECASE)), f"error: {error}"
    notes = " ".join(transcript.notes)
    said = lambda pattern: re.search(pattern, notes, re.IGNORECASE) is not None  # noqa: E731
    text = " ".join(segment.text for segment in transcript.segments)
    words = by_lips if case.words == LIPS else case.words
    right = text == words and (case.and_says is None or said(case.and_says))
    return right or (case.or_says is not None and said(case.or_says)), f"{text!r}; notes: {notes or 'none'}"


def upside_down(folder: Path, name: str) -> tuple[bool, str]:
    try:
        clip = extract_lips(folder / name)
    except NoFace as error:
        return True, str(error)
    turned = clip.placements_T23[:, 1, 1] < 0
    return bool(turned.mean() > 0.9), f"{clip.counts}, turned in {turned.mean():.0%} of the frames"


def long_sound(folder: Path) -> tuple[bool, str]:
    start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    audio_S = read_audio(folder / "long_47min_192k.flac")
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - start) * 1024
    seconds = len(audio_S) / 16000
    return abs(seconds - 2810) < 0.1, f"{seconds:.1f} s, {more / audio_S.nbytes:.2f} times its array more in memory"


def late_mouth(folder: Path) -> tuple[bool, str]:
    path = folder / "mouth_starts_late.mkv"
    clip_THW = read_grey_clip(path)
    alike = int((np.abs(np.diff(clip_THW.astype(int), axis=0)).max(axis=(1, 2)) == 0).argmin()) + 1
    right = len(clip_THW) == sum(1 for _ in read_frames(path)) == 58 and alike >= 12
    return right, f"{len(clip_THW)} frames, the first {alike} alike"


def marked_list(folder: Path) -> tuple[bool, str]:
    files = [folder / f"byte_order_mark/train.{ending}" for ending in ("tsv", "wrd")]
    (only,) = read_tsv(*files)
    return only.text == B and str(only.mouth).startswith("runs/demo/"), f"{only.text!r} of {only.mouth}"


def long_labels(folder: Path) -> tuple[bool, str]:
    """Characters of the demo's labels, ten times too many, with a step a frame."""
    manifest = folder / "labels_too_long.jsonl"
    utterances = read_manifest(manifest)
    tokenizer = Tokenizer.fit([one.text or "" for one in utterances], "characters")
    try:
        check_alignable(utterances, [one.num_frames or 0 for one in utterances], tokenizer, manifest, 0.05)
    except ManifestError as error:
        return "8 of 8" in str(error), f"error: {str(error)[:120]} ..."
    return False, "no word"


def main(model: str, folder: Path, clip: Path, out: Path | None = None) -> None:
    """Print what comes of each file.

    Args:
        model: of the demo, whose test clips the files were made from.
        folder: of the recordings.
        clip: the demo's that says B.
        out: JSON of the rows.
    """
    loaded, rows = load_model(model), []
    by_lips = loaded.transcribe(clip, modality="video").text
    ways: list[tuple[str, Callable[[], tuple[bool, str]]]] = [
        (f"{case.file} {case.modality or ''}".strip(), lambda case=case: transcribed(loaded, folder, case, by_lips))
        for case in CASES
    ]
    for name in ("upside_down.mp4", "upside_down_grid.mp4"):
        ways.append((name, lambda name=name: upside_down(folder, name)))
    ways += [
        ("byte_order_mark", lambda: marked_list(folder)),
        ("labels_too_long.jsonl", lambda: long_labels(folder)),
        ("long_47min_192k.flac", lambda: long_sound(folder)),
        ("mouth_starts_late.mkv", lambda: late_mouth(folder)),
    ]
    for name, way in ways:
        try:
            right, what = way()
        except MediaError as error:
            right, what = False, f"error: {error}"
        rows.append({"file": name, "right": right, "came": what.replace(f"{folder}/", "")})
        print(f"{'right' if right else 'WRONG':5} {name:28} {rows[-1]['came']}", flush=True)
    print(f"{sum(row['right'] for row in rows)} of {len(rows)} right")
    if out is not None:
        out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    auto_cli(main)
