"""Count the word errors of clips whose sound is spoilt, late or another's.

    python experiments/2026-11-awkward-recordings/spoil.py demo runs/demo/test.jsonl results.json --num_clips 20

Reads   a model with lips, and a manifest of clips with texts.
Writes  word error rates, in %, and the notes by their first words. Faces are found once for each clip.
"""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli
from scipy.signal import lfilter

from avspeech.evaluation.error_rate import count_errors
from avspeech.files import written_whole
from avspeech.manifest import Utterance, read_manifest
from avspeech.media.audio import read_audio
from avspeech.text.normalize import normalize_for_scoring
from avspeech.timebase import SAMPLE_RATE
from avspeech.transcription import reading
from avspeech.transcription.speech_model import SpeechModel, load_model

Sound = Callable[[np.ndarray, int], np.ndarray]  # a clip's sound and its number -> the spoilt sound


def hum(audio_S: np.ndarray, seed: int) -> np.ndarray:
    time_S = np.arange(len(audio_S)) / SAMPLE_RATE
    return 0.05 * np.sum([np.sin(2 * np.pi * 50 * k * time_S) / k for k in (1, 2, 3, 5)], axis=0)


def wind(audio_S: np.ndarray, seed: int) -> np.ndarray:
    time_S = np.arange(len(audio_S)) / SAMPLE_RATE
    wind_S = lfilter([1], [1, -0.995], hiss(1.0)(audio_S, seed)) * (1 + 0.8 * np.sin(2 * np.pi * 0.7 * time_S + seed))
    return 0.1 * wind_S / wind_S.std()


def music(audio_S: np.ndarray, seed: int) -> np.ndarray:
    """Return chords of five partials that change every quarter of a second."""
    time_S, beat = np.arange(len(audio_S)) / SAMPLE_RATE, 0.25
    steps = np.random.default_rng(seed).choice([0, 2, 4, 5, 7, 9, 11, 12], int(time_S[-1] / beat) + 1)
    phase_S = 2 * np.pi * np.cumsum(220 * 2 ** (steps[(time_S / beat).astype(int)] / 12)) / SAMPLE_RATE
    partials = [np.sin(phase_S * chord * k) / k for chord in (1, 5 / 4, 3 / 2) for k in range(1, 6)]
    music_S = sum(partials) * np.exp(-4 * (time_S % beat))
    return 0.1 * music_S / music_S.std()


def hiss(level: float) -> Sound:
    return lambda audio_S, seed: level * np.random.default_rng(seed).standard_normal(len(audio_S))


def late(frames: int) -> Sound:
    def shift(audio_S: np.ndarray, seed: int) -> np.ndarray:
        return np.roll(np.pad(audio_S, 8000), frames * 640)[8000:-8000]

    return shift


SOUNDS: dict[str, Sound] = {
    "own": lambda audio_S, seed: audio_S,
    "hiss, -80 dBFS": hiss(1e-4),
    "hiss, -40 dBFS": hiss(1e-2),
    "hum": hum,
    "wind": wind,
    "music": music,
    "tone": lambda audio_S, seed: 0.25 * np.sin(2 * np.pi * np.arange(len(audio_S)) / 16),
    "silence at 0.3": lambda audio_S, seed: np.full(len(audio_S), 0.3),
    "80 ms late": late(2),
    "120 ms late": late(3),
    "200 ms late": late(5),
    "120 ms early": late(-3),
    "200 ms early": late(-5),
    "offset 0.01": lambda audio_S, seed: audio_S + 0.01,
    "offset 0.1": lambda audio_S, seed: audio_S + 0.1,
    "offset -0.3": lambda audio_S, seed: audio_S - 0.3,
}


def find_faces_once() -> None:
    """Keep the faces and crops of each clip."""
    found, cut = reading.follow_faces, reading.crop_faces
    kept: dict[str, object] = {}

    def follow(pictures, finder, **options):
        first = next(pictures)
        if (name := str(first._path)) not in kept:
            kept[name] = found((one for one in (first, *pictures)), finder, **options)
        return kept[name]

    def crop(video, followed, clips, **options):
        key = f"{video} {clips}"
        if key not in kept:
            kept[key] = cut(video, followed, clips, **options)
        return kept[key]

    reading.follow_faces, reading.crop_faces = follow, crop  # type: ignore[assignment]


def score(model: SpeechModel, clips: list[tuple[Utterance, np.ndarray, str]], modality: str) -> dict[str, object]:
    errors = words = 0
    notes: Counter[str] = Counter()
    for one, audio_S, text in clips:
        sound_S = np.clip(audio_S, -1, 1).astype(np.float32)
        found = model.transcribe_streams(model.prepare(str(one.video), modality=modality, audio_S=sound_S))  # type: ignore[arg-type]
        counts = count_errors(*(normalize_for_scoring(line, one.language) for line in (text, found.text)))
        errors += counts.substitutions + counts.deletions + counts.insertions
        words += counts.num_words
        notes.update(" ".join(note.split()[:4]) for note in found.notes)
    return {"wer": round(100 * errors / words, 1), "notes": dict(notes)}


def main(model: str, manifest: Path, out: Path, num_clips: int = 20) -> None:
    """Write the word errors of every spoilt sound.

    Args:
        model: a name or path.
        manifest: of clips with texts.
        out: a JSON file.
        num_clips: clips, spread over the manifest.
    """
    torch.set_num_threads(1)
    every = read_manifest(manifest)
    chosen = [every[place] for place in np.linspace(0, len(every) - 1, num_clips).round().astype(int)]
    own = [read_audio(str(one.video)) for one in chosen]
    speech, results = load_model(model), {}
    find_faces_once()
    for modality in ("audio", "video"):
        clips = [(one, own_S, str(one.text)) for one, own_S in zip(chosen, own, strict=True)]
        results[f"own, {modality}"] = score(speech, clips, modality)
    for name, spoil in SOUNDS.items():
        spoilt = [spoil(own_S, seed) for seed, own_S in enumerate(own)]
        clips = [(one, audio_S, str(one.text)) for one, audio_S in zip(chosen, spoilt, strict=True)]
        results[name] = score(speech, clips, "audio+video")
        if name.startswith("offset"):
            results[f"{name}, audio"] = score(speech, clips, "audio")
    others = [(number + 7) % num_clips for number in range(num_clips)]
    clips = [(one, own[other], str(chosen[other].text)) for one, other in zip(chosen, others, strict=True)]
    results["another's voice"] = score(speech, clips, "audio+video")
    with written_whole(out) as path:
        path.write_text(json.dumps(results, indent=1) + "\n")
    for name, row in results.items():
        print(name, row)


if __name__ == "__main__":
    auto_cli(main)
