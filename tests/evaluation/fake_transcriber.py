"""A transcriber that needs no model, the identity of its runs, and a mixer that needs no noise."""

import hashlib
from collections.abc import Sequence

import numpy as np

from avspeech.evaluation.conditions import Condition
from avspeech.evaluation.grid import Unreadable
from avspeech.manifest import Utterance
from avspeech.timebase import SAMPLE_RATE

IDENTITY = {
    "model_sha256": "m" * 64,
    "manifest": "test.jsonl",
    "manifest_sha256": "a" * 64,
    "noises": {"babble": {"kind": "babble", "num_voices": [6, 6], "manifest_sha256": "b" * 64}},
}


class Buzz:
    """Mixes in a tone instead of noise."""

    def mix(self, audio_S, utterance_id, noise, snr_db):
        tone_S = 0.3 * np.sin(np.arange(len(audio_S)) * 2 * np.pi * 1000 / SAMPLE_RATE)
        return (audio_S + tone_S).astype(np.float32)


class FakeTranscriber:
    """Gets some words wrong, more in noise, without sound and with another video; remembers what it was asked."""

    def __init__(self, broken: Sequence[str] = ()) -> None:
        self.broken, self.asked = set(broken), []

    def __call__(self, utterances: Sequence[Utterance], condition: Condition) -> list[str | Unreadable]:
        self.asked.append((condition, len(utterances)))
        share = {"audio": 0.1, "video": 0.4, "audio+video": 0.1}[condition.modality]
        if condition.snr_db is not None:
            share += (0.03 if condition.keeps_video else 0.06) * (12 - condition.snr_db)
        share += {"own": 0.0, "blank": 0.2, "shuffled": 0.3}.get(condition.video_stream, 0.1)
        return [self._hear(one, condition, share) for one in utterances]

    def _hear(self, utterance: Utterance, condition: Condition, share: float) -> str | Unreadable:
        if utterance.id in self.broken and condition.keeps_audio:
            return Unreadable("MediaError: x.wav: is <b>empty")
        words = []
        for place, word in enumerate((utterance.text or "").split()):
            digest = hashlib.sha256(f"{utterance.id} {place} {condition.modality}".encode()).digest()
            words.append(word if digest[0] / 256 > share else "wrong")
        return " ".join(words)
