"""A test set, voices, recordings and a room to plan noise with: a second of tones and hiss each."""

import hashlib
from pathlib import Path

import numpy as np

from avspeech.manifest import Utterance, read_manifest, write_manifest
from avspeech.media.audio import read_audio, write_wav
from avspeech.noise.plan import NoisePlan, PlanMixer
from avspeech.noise.pools import roots_of
from avspeech.noise.spec import NoiseSpec


def sound(seed: int, num_samples: int = 16_000, level: float = 0.1) -> np.ndarray:
    """Return a tone that comes and goes, with hiss: (num_samples,) float32, no two seeds alike."""
    rng = np.random.default_rng(seed)
    time_S = np.arange(num_samples) / 16_000
    tone_S = np.sin(2 * np.pi * rng.uniform(100, 900) * time_S)
    tone_S *= np.sin(2 * np.pi * rng.uniform(1, 3) * time_S) > -0.5
    return (level * (tone_S + 0.1 * rng.standard_normal(num_samples))).astype(np.float32)


def write_plan_corpus(folder: Path) -> Path:
    """Write test.jsonl (4 clips of a and b), voices.jsonl (10 clips of a, c, d, e, f), noise/ and rooms/."""
    for name in ("speech", "voices", "noise/deep", "rooms"):
        (folder / name).mkdir(parents=True)

    def clip(kind: str, name: str, speaker: str, seed: int, **shape) -> Utterance:
        write_wav(folder / kind / f"{name}.wav", sound(seed, **shape))
        return Utterance(name, audio=folder / kind / f"{name}.wav", text="pa", speaker=speaker)

    tested = [clip("speech", f"t{n}", "ab"[n % 2], n, num_samples=12_000 + 999 * n) for n in range(4)]
    voices = [clip("voices", f"v{n}", "acdef"[n % 5], 10 + n, level=0.03 * (n + 1)) for n in range(10)]
    write_manifest(folder / "test.jsonl", tested)
    write_manifest(folder / "voices.jsonl", voices)
    room_S = np.zeros(3000, np.float32)
    room_S[40:] = np.exp(-np.arange(2960) / 500) * np.random.default_rng(3).standard_normal(2960) * 0.1
    room_S[40] = 0.9
    files = {"noise/rain": sound(30, 40_000), "noise/deep/drop": sound(31, 700), "rooms/hall": room_S}
    for name, audio_S in files.items():
        write_wav(folder / f"{name}.wav", audio_S)
    return folder


def utterances_of(folder: Path) -> list[Utterance]:
    return read_manifest(folder / "test.jsonl")


def noises_of(folder: Path) -> dict[str, NoiseSpec]:
    voices, rooms = folder / "voices.jsonl", folder / "rooms"
    return {
        "babble": NoiseSpec("babble", voices, (3, 4)), "talker": NoiseSpec("talker", voices),
        "white": NoiseSpec("white"), "pink": NoiseSpec("pink", impulse_responses=rooms),
        "drop": NoiseSpec("file", path=folder / "noise/deep/drop.wav"),
        "any": NoiseSpec("folder", path=folder / "noise"), "hall": NoiseSpec("reverb", impulse_responses=rooms),
    }  # fmt: skip


def mix_all(folder: Path, plan: NoisePlan, **options) -> dict[tuple, np.ndarray]:
    mixer = PlanMixer(plan, roots_of(noises_of(folder)), **options)
    return {
        (one.id, *condition): mixer.mix(read_audio(folder / "speech" / f"{one.id}.wav"), one.id, *condition)
        for one in utterances_of(folder)
        for condition in plan.conditions
    }


def digest_of(mixes: dict[tuple, np.ndarray]) -> str:
    return hashlib.sha256(b"".join(mix_S.astype("<f4").tobytes() for mix_S in mixes.values())).hexdigest()
