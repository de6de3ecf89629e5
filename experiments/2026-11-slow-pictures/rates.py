"""Word errors of a model on clips as a camera of few pictures a second would have given them, held and moved.

python experiments/2026-11-slow-pictures/rates.py MODEL MANIFEST --num_clips 30
"""

from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from avspeech.decoding.transcribe import transcribe_batch
from avspeech.evaluation.error_rate import count_normalized
from avspeech.inputs import collate, make_sample
from avspeech.manifest import read_manifest
from avspeech.media.audio import read_audio
from avspeech.media.video import read_grey_clip
from avspeech.models.files import load_model
from avspeech.roi import motion
from avspeech.timebase import FRAME_RATE

RATES = (24, 20, 15, 12, 10, 8, 6, 5, 4, 3)


def slowed(mouth_THW: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the crops that reading at 25 fps gives of such a source, and when it shows each."""
    source_N = np.arange(int(len(mouth_THW) / FRAME_RATE * rate) + 3) / rate
    shown_T = np.searchsorted(source_N, (np.arange(len(mouth_THW)) + 0.5) / FRAME_RATE) - 1
    seen_T = np.minimum((source_N[shown_T] * FRAME_RATE + 1e-6).astype(int), len(mouth_THW) - 1)
    return mouth_THW[seen_T], np.stack([source_N[shown_T], source_N[shown_T + 1]], axis=1)


def main(model: Path, manifest: Path, num_clips: int = 30) -> None:
    """Print a row for each rate: per cent of words wrong with sound and lips, and with lips alone."""
    torch.set_num_threads(1)
    motion.AT_ONCE_S, motion.SLOWEST = 0.0, 1  # every rate is moved
    network = load_model(model).eval()
    clips = [
        (one, read_grey_clip(one.mouth or ""), read_audio(one.audio or ""))
        for one in read_manifest(manifest)[:num_clips]
    ]

    def errors(change, sound: bool, lips: bool) -> float:
        wrong = words = 0
        for start in range(0, len(clips), 10):
            samples = [
                make_sample(
                    network.inputs,
                    one.id,
                    len(mouth_THW),
                    audio_S if sound else None,
                    change(mouth_THW) if lips else None,
                    text=one.text,
                    language=one.language,
                )
                for one, mouth_THW, audio_S in clips[start : start + 10]
            ]
            with torch.inference_mode():
                found = transcribe_batch(network, collate(samples))
            for (one, *_), nbest in zip(clips[start : start + 10], found, strict=True):
                counts = count_normalized(one.text or "", nbest[0].text, one.language, "basic")
                wrong, words = wrong + counts.word_errors, words + counts.num_words
        return 100 * wrong / words

    print(f"sound alone {errors(None, True, False):.1f}")
    for rate in (FRAME_RATE, *RATES):
        held = lambda mouth_THW, rate=rate: slowed(mouth_THW, rate)[0]  # noqa: E731
        moved = lambda mouth_THW, rate=rate: np.stack(list(motion.moving(*slowed(mouth_THW, rate))))  # noqa: E731
        cells = [errors(change, sound, True) for change in (held, moved) for sound in (True, False)]
        print(rate, *(f"{cell:.1f}" for cell in cells), flush=True)


if __name__ == "__main__":
    auto_cli(main)
