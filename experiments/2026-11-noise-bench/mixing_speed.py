"""How many hours of speech one core mixes with noise in an hour, from a plan and with every hash checked.

    python experiments/2026-11-noise-bench/mixing_speed.py test.jsonl voices.jsonl

Prints JSON: for each noise, hours of audio per core-hour (processor time, so other programs do not count)
- ``planned``: a plan is made, speech and noise are decoded;
- ``mixed_cold``: mixed from the plan, noise decoded and hashed on the way, speech decoded before;
- ``mixed_warm``: once more, with the noise in memory, which is what the second to the last SNR of a grid cost.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from avspeech.degrade.noise_plan import PlanMixer
from avspeech.degrade.noise_spec import NoiseSpec
from avspeech.evaluation.noise_plans import make_plan
from avspeech.evaluation.noise_pools import roots_of
from avspeech.manifest import read_manifest
from avspeech.media.audio import read_audio, write_wav
from avspeech.timebase import SAMPLE_RATE


def main(manifest: Path, voices: Path, clips: int = 60, snr_db: float = 0.0) -> None:
    """Measure the speed of mixing.

    Args:
        manifest: the test set.
        voices: of the babble; may be of the test set's speakers, since nothing is recognised.
        clips: how many utterances of the test set to take.
        snr_db: of every mix.
    """
    utterances = read_manifest(manifest, require=("audio",))[:clips]
    speech = {one.id: read_audio(one.audio) for one in utterances if one.audio is not None}
    hours = sum(len(audio_S) for audio_S in speech.values()) / SAMPLE_RATE / 3600
    with tempfile.TemporaryDirectory() as folder:
        noise = Path(folder) / "five_minutes.wav"
        write_wav(noise, 0.1 * np.random.default_rng(0).standard_normal(300 * SAMPLE_RATE))
        kinds = {
            "white": NoiseSpec("white"),
            "pink": NoiseSpec("pink"),
            "babble_6": NoiseSpec("babble", voices, (6, 6), test_speakers="allow"),
            "babble_30": NoiseSpec("babble", voices, (30, 30), test_speakers="allow"),
            "file": NoiseSpec("file", path=noise),
        }
        found = {}
        for name, spec in kinds.items():
            start = time.process_time()
            plan = make_plan(utterances, {name: spec}, [snr_db], seed=0)
            times = {"planned": time.process_time() - start}
            mixer = PlanMixer(plan, roots_of({name: spec}))
            for run in ("mixed_cold", "mixed_warm"):
                start = time.process_time()
                for utterance_id, audio_S in speech.items():
                    mixer.mix(audio_S, utterance_id, name, snr_db)
                times[run] = time.process_time() - start
            found[name] = {what: round(3600 * hours / seconds) for what, seconds in times.items()}
    print(json.dumps({"clips": len(speech), "hours": round(hours, 4), "hours_per_core_hour": found}, indent=2))


if __name__ == "__main__":
    auto_cli(main)
