"""Does cutting at pauses lose words? Clips with known word times are joined to long files, which are then cut.

    python experiments/2026-11-any-video/cutting.py data/grid_test.jsonl data/grid_train.jsonl \
        runs/grid_lips.npz experiments/2026-11-any-video/cutting_grid.json

Ten clips make a file. ``pauses`` puts 0.3 to 3 s between them, of silence and of noise 60 dB below full scale by
turns; the lips of the last frame stand still there, or no face is seen, by turns. ``no_pauses`` keeps of each clip
what lies between its first and last word, so that one stretch of speech is longer than any model takes. A file is
cut by its sound, by sound and lips, and by lips alone; clean and at an SNR. A word is whole where one segment holds
all of it, and hit where more than 80 ms of it lie on either side of a cut (cuts are on frames of 40 ms, words are not).
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import auto_cli

from avspeech.degrade.noise import mix_at_snr
from avspeech.degrade.sources import BabbleSource, Voice, WhiteSource
from avspeech.manifest import Utterance, read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.video import read_pictures
from avspeech.roi.faces import follow_faces
from avspeech.roi.landmarks import FaceFinder
from avspeech.roi.track import FrameStatus
from avspeech.timebase import FRAME_RATE, SAMPLES_PER_FRAME
from avspeech.transcription.cutting import CuttingConfig, cut_segments
from avspeech.transcription.speech_activity import frame_level, speech_probability

CLIPS_PER_FILE = 10
HIT_S = 0.08


def main(
    manifest: Path, voices: Path, lips: Path, out: Path, longest_s: tuple[float, ...] = (28.0, 8.0), seed: int = 0
) -> None:
    """Measure how many words survive.

    Args:
        manifest: clips with face, sound and word times.
        voices: of the babble.
        lips: npz file with the openness of every clip; made if it is missing.
        out: JSON file for the figures.
        longest_s: longest segments to try.
        seed: of pauses and noise.
    """
    utterances = read_manifest(manifest, require=("video", "audio", "words"))
    openness = read_openness(utterances, lips)
    babble = BabbleSource([Voice(one.id, one.audio, one.speaker) for one in read_manifest(voices) if one.audio])
    rows = []
    for pauses in ("pauses", "no_pauses"):
        files = [
            join(utterances[index : index + CLIPS_PER_FILE], openness, pauses == "pauses", seed + index)
            for index in range(0, len(utterances), CLIPS_PER_FILE)
        ]
        for noise, source in {"clean": None, "white": WhiteSource(), "babble": babble}.items():
            for file in files:
                rng = np.random.default_rng((seed, len(file["audio_S"])))
                heard_S = file["audio_S"]
                if source is not None:
                    heard_S = mix_at_snr(heard_S, source.draw(len(heard_S), rng), 0.0)
                file["prob_T"], file["level_T"] = speech_probability(heard_S), frame_level(heard_S)
            for streams in ("audio", "audio+video", "video"):
                if streams == "video" and noise != "clean":
                    continue
                for longest in longest_s:
                    rows.append(
                        {"joined": pauses, "noise": noise, "streams": streams, "longest_s": longest}
                        | measure(files, streams, longest)
                    )
                    print(rows[-1])
    out.write_text(
        json.dumps({"manifest": manifest.name, "clips": len(utterances), "seed": seed, "rows": rows}, indent=1)
    )


def read_openness(utterances: list[Utterance], path: Path) -> dict[str, np.ndarray]:
    """Return each clip's ``openness_T`` of the largest face, NaN where there is none; kept in ``path``."""
    if not path.exists():
        found = {}
        with FaceFinder() as finder:
            for one in utterances:
                assert one.video is not None
                followed = follow_faces(read_pictures(one.video), finder)
                found[one.id] = np.full(followed.num_frames, np.nan, np.float32)
                if followed.faces:
                    face = followed.faces[0]
                    known_T = face.status_T != FrameStatus.MISSING
                    found[one.id][face.first : face.end] = np.where(known_T, face.openness_T, np.nan)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **found)
        part.rename(path)
    return dict(np.load(path))


def join(utterances: list[Utterance], openness: dict[str, np.ndarray], with_pauses: bool, seed: int) -> dict[str, Any]:
    """Return one file: its sound, its lips, its words in seconds, and the seconds between first and last words."""
    rng = np.random.default_rng(seed)
    audio: list[np.ndarray] = []
    lips: list[np.ndarray] = []
    words, speech_s, frames = [], 0.0, 0
    for index, one in enumerate(utterances):
        assert one.audio is not None and one.words is not None
        audio_S, open_T = read_audio(one.audio), openness[one.id]
        length = min(len(open_T), len(audio_S) // SAMPLES_PER_FRAME)
        first, last = 0, length
        if not with_pauses:
            first = int(one.words[0].start_s * FRAME_RATE)
            last = min(length, int(np.ceil(one.words[-1].end_s * FRAME_RATE)))
        audio.append(audio_S[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME])
        lips.append(open_T[first:last])
        shift_s = (frames - first) / FRAME_RATE
        words += [(word.start_s + shift_s, min(word.end_s, last / FRAME_RATE) + shift_s) for word in one.words]
        speech_s += one.words[-1].end_s - one.words[0].start_s
        frames += last - first
        if with_pauses:
            pause = int(rng.uniform(0.3, 3.0) * FRAME_RATE)
            level = 0.001 * (index % 2)
            audio.append((level * rng.standard_normal(pause * SAMPLES_PER_FRAME)).astype(np.float32))
            lips.append(np.full(pause, np.nan if index // 2 % 2 else open_T[last - 1], np.float32))
            frames += pause
    return {
        "audio_S": np.concatenate(audio),
        "openness_T": np.concatenate(lips),
        "words": words,
        "speech_s": speech_s,
        "clips": len(utterances),
    }


def measure(files: list[dict[str, Any]], streams: str, longest_s: float) -> dict[str, Any]:
    """Return the share of whole words and how much is decoded."""
    config = CuttingConfig(longest_s=longest_s)
    words = whole = hit = segments = torn = clips = 0
    decoded_s = speech_s = longest = 0.0
    for file in files:
        spans = cut_segments(
            None if streams == "video" else file["prob_T"],
            None if streams == "audio" else file["openness_T"],
            len(file["openness_T"]),
            config,
            None if streams == "video" else file["level_T"],
        )
        times = [(span.start / FRAME_RATE, span.end / FRAME_RATE) for span in spans]
        words += len(file["words"])
        parts = [[min(end, last) - max(start, first) for start, end in times] for first, last in file["words"]]
        whole += sum(max(part) > last - first - 1e-6 for part, (first, last) in zip(parts, file["words"], strict=True))
        hit += sum(max(part) < last - first - HIT_S for part, (first, last) in zip(parts, file["words"], strict=True))
        segments, torn = segments + len(spans), torn + sum(span.torn for span in spans)
        decoded_s += sum(end - start for start, end in times)
        longest = max(longest, *(end - start for start, end in times))
        speech_s, clips = speech_s + file["speech_s"], clips + file["clips"]
    return {
        "words": words,
        "not_whole": words - whole,
        "hit": hit,
        "segments_per_clip": round(segments / clips, 2),
        "decoded_over_speech": round(decoded_s / speech_s, 2),
        "longest": round(longest, 2),
        "torn": torn,
    }


if __name__ == "__main__":
    auto_cli(main)
