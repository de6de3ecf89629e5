"""Is a long video transcribed as well as its clips? Clips joined with pauses, and a stretch without a face.

    python experiments/2026-11-any-video/long_video.py MODEL MANIFEST FOLDER [--minutes 10]

Writes FOLDER/long.mp4, the clips as they stand in it (FOLDER/clips), and FOLDER/long.json with: word error rates of the
whole and of the clips one by one, peak memory of the whole, seconds, how far words' times are off, and words that do
not lie within one segment. Pauses are 0.6 to 3 s of the last picture and faint noise; for 20 s in the middle the
picture is grey while people go on speaking.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli

import avspeech
from avspeech.evaluation.error_rate import count_errors
from avspeech.manifest import Utterance, Word, read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.video import read_frames, write_video
from avspeech.text.normalize import normalize_for_scoring
from avspeech.timebase import FRAME_RATE, SAMPLES_PER_FRAME
from avspeech.transcription.result import Transcript

FACELESS_S = 20.0
NOISE = 0.0005
"""Standard deviation of the sound of pauses, about -66 dB."""


def plan(utterances: list[Utterance], minutes: float, rng: np.random.Generator) -> list[tuple[Utterance, int, int]]:
    """Return (clip, its first frame, frames of pause after it) until the video is full."""
    placed, at = [], 0
    while True:
        for index in rng.permutation(len(utterances)).tolist():
            utterance, pause = utterances[index], int(rng.integers(15, 76))
            assert utterance.num_frames is not None
            if at + utterance.num_frames + pause > minutes * 60 * FRAME_RATE:
                return placed
            placed.append((utterance, at, pause))
            at += utterance.num_frames + pause


def faceless(first: int, total: int) -> bool:
    """Return whether the picture of a clip that starts at this frame is grey."""
    return total / 2 <= first < total / 2 + FACELESS_S * FRAME_RATE


def sound_of(utterance: Utterance, pause: int, rng: np.random.Generator) -> np.ndarray:
    """Return the clip's sound and that of the pause, as long as their frames."""
    assert utterance.audio is not None and utterance.num_frames is not None
    audio_S = read_audio(utterance.audio)[: utterance.num_frames * SAMPLES_PER_FRAME]
    noise_S = NOISE * rng.standard_normal((utterance.num_frames + pause) * SAMPLES_PER_FRAME)
    noise_S[: len(audio_S)] += audio_S
    return noise_S.astype(np.float32)


def pictures(utterance: Utterance, pause: int, grey: bool) -> Iterator[np.ndarray]:
    """Yield the clip's frames and those of the pause."""
    assert utterance.video is not None and utterance.num_frames is not None
    frame, count = np.zeros((224, 224, 3), np.uint8), 0
    for frame in read_frames(utterance.video):
        if count < utterance.num_frames:
            yield np.full_like(frame, 128) if grey else frame
        count += 1
    for _ in range(utterance.num_frames - count + pause if count < utterance.num_frames else pause):
        yield np.full_like(frame, 128) if grey else frame


def build(placed: list[tuple[Utterance, int, int]], folder: Path, seed: int) -> None:
    """Write the video and its clips."""
    rng = np.random.default_rng(seed)
    total = placed[-1][1]
    (folder / "clips").mkdir(parents=True, exist_ok=True)
    sounds = [sound_of(utterance, pause, rng) for utterance, _, pause in placed]
    for number, ((utterance, first, _), audio_S) in enumerate(zip(placed, sounds, strict=True)):
        assert utterance.num_frames is not None
        frames = list(pictures(utterance, 0, faceless(first, total)))[: utterance.num_frames]
        write_video(folder / f"clips/{number:03}.mp4", frames, audio_S[: len(frames) * SAMPLES_PER_FRAME])
    clips = (pictures(utterance, pause, faceless(first, total)) for utterance, first, pause in placed)
    write_video(folder / "long.mp4", chain.from_iterable(clips), np.concatenate(sounds))


def transcribe_apart(model: str, video: Path, out: Path) -> tuple[Transcript, float, float]:
    """Transcribe in a process of its own; return the transcript, its peak memory in GiB and its seconds."""
    code = (
        "import json, resource, sys, avspeech; model = avspeech.load_model(sys.argv[1]);"
        "transcript = model.transcribe(sys.argv[2]);"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20;"
        "open(sys.argv[3], 'w').write(json.dumps([transcript.to_json(), peak]))"
    )
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", code, model, str(video), str(out)], check=True)
    record, peak_gib = json.loads(out.read_text())
    return Transcript.from_json(record), peak_gib, time.monotonic() - start


def match_times(transcript: Transcript, truth: list[Word]) -> dict[str, Any]:
    """Return how far the starts and ends of words are off that were recognised where they were said."""
    heard, starts, ends = list(transcript.words), [], []
    for word in truth:
        said = word.text.casefold()
        near = [one for one in heard if one.text.casefold() == said and abs(one.start_s - word.start_s) < 2]
        if near:
            one = min(near, key=lambda one: abs(one.start_s - word.start_s))
            heard.remove(one)
            starts.append(abs(one.start_s - word.start_s))
            ends.append(abs(one.end_s - word.end_s))
    both = np.maximum(starts, ends)
    return {
        "words_matched": len(starts),
        "starts_within_0.2s": round(float(np.mean(np.array(starts) <= 0.2)), 4),
        "ends_within_0.2s": round(float(np.mean(np.array(ends) <= 0.2)), 4),
        "both_within_0.2s": round(float(np.mean(both <= 0.2)), 4),
    }


def main(model: str, manifest: Path, folder: Path, minutes: float = 10.0, seed: int = 0) -> None:
    """Build the video and measure.

    Args:
        model: name or path.
        manifest: clips with video, text and word times.
        folder: for the video and the results.
        minutes: length of the video.
        seed: of order, pauses and noise.
    """
    placed = plan(read_manifest(manifest, require=("text", "words")), minutes, np.random.default_rng(seed))
    if not (folder / "long.mp4").exists():
        build(placed, folder, seed)
    loaded = avspeech.load_model(model)
    whole, peak_gib, seconds = transcribe_apart(model, folder / "long.mp4", folder / "transcript.json")
    apart = [loaded.transcribe(folder / f"clips/{number:03}.mp4") for number in range(len(placed))]

    def normal(text: str | None) -> str:
        return normalize_for_scoring(text or "", None)

    reference = " ".join(normal(utterance.text) for utterance, _, _ in placed)
    errors = count_errors(reference, normal(whole.text))
    alone = [count_errors(normal(u.text), normal(one.text)) for (u, _, _), one in zip(placed, apart, strict=True)]
    num_words = len(reference.split())
    truth = [
        Word(word.text, word.start_s + first / FRAME_RATE, word.end_s + first / FRAME_RATE)
        for utterance, first, _ in placed
        for word in utterance.words or ()
    ]
    spans = [(one.start_s, one.end_s) for one in whole.segments]
    cut = [word for word in truth if not any(start <= word.start_s and word.end_s <= end for start, end in spans)]
    results = {
        "minutes": round(whole.duration_s / 60, 2),
        "clips": len(placed),
        "words": num_words,
        "segments": len(whole.segments),
        "wer_whole": round(errors.wer, 4),
        "wer_one_by_one": round(sum(one.word_errors for one in alone) / num_words, 4),
        "peak_gib": round(peak_gib, 2),
        "seconds": round(seconds, 1),
        "words_not_in_one_segment": len(cut),
        "modalities": {name: sum(one.modality == name for one in whole.segments) for name in ("audio+video", "audio")},
        "notes": whole.notes,
        **match_times(whole, truth),
    }
    (folder / "long.json").write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    auto_cli(main)
