"""Write the noise plan of a test set, and the noisy test sets as wav files.

    python data_prep/mix_noisy_tests.py data/test.jsonl test.plan.jsonl --conditions configs/evaluate/full.yaml \
        --noise_manifests '{babble: data/voices.jsonl}' --noise_paths '{music: /data/musan}' --wav_dir data/noisy
    python data_prep/mix_noisy_tests.py data/test.jsonl published.plan.jsonl --wav_dir data/noisy

Reads   a manifest, the noise, and ``noises``, ``snrs_db``, ``seed``, ``rule`` and ``level`` of a conditions YAML;
        without --conditions an existing plan.
Writes  the plan (avspeech/noise/plan.py) and <plan>.failures.jsonl; with --wav_dir a folder for each condition, such
        as babble_-5dB, with <id>.wav (16 kHz, 16 bits; 32-bit float for rule auto_avsr) and manifest.jsonl.
A restart recomputes the plan, refuses a difference, and keeps wavs whose hash matches.
"""

import sys
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli
from scipy.io import wavfile
from tqdm import tqdm

from avspeech.evaluation.config import read_conditions
from avspeech.files import make_folder, make_place, write_lines, written_whole
from avspeech.manifest import Utterance, hash_test_set, read_manifest, write_manifest
from avspeech.media.audio import read_audio, write_wav
from avspeech.media.errors import MediaError
from avspeech.noise.making import make_plan
from avspeech.noise.mixing import mix_sha256
from avspeech.noise.plan import NoisePlan, PlanError, PlanMixer
from avspeech.noise.pools import roots_of
from avspeech.noise.spec import NoiseSpec
from avspeech.timebase import SAMPLE_RATE
from data_prep.run_each import Crash, run_each


def main(
    manifest: Path,
    plan: Path,
    conditions: Path | None = None,
    seed: int | None = None,
    noise_manifests: dict[str, Path] | None = None,
    noise_paths: dict[str, Path] | None = None,
    wav_dir: Path | None = None,
    num_workers: int = 2,
    max_failed: float = 0.02,
) -> None:
    """Make or read a noise plan, and mix from it.

    Args:
        manifest: manifest of the whole test set.
        plan: the noise plan; written if conditions are given, else read.
        conditions: YAML with noises and SNRs; null reads the plan.
        seed: replaces the seed of the conditions.
        noise_manifests: replaces noises.<name>.manifest; for an existing plan, the local noise manifest.
        noise_paths: replaces noises.<name>.path or <name>.impulse_responses; for a finished plan, local paths.
        wav_dir: folder of the mixed wavs; null writes the plan only.
        num_workers: processes; they do not change the result.
        max_failed: share of unreadable utterances beyond which the exit status is 1.
    """
    try:
        if num_workers < 0:
            raise ValueError(f"num_workers={num_workers} must be 0, which works in this process, or more")
        utterances = read_manifest(manifest)
        if wav_dir is not None:
            make_folder(wav_dir, "--wav_dir")
        if conditions is None:
            frozen, roots = _read_plan(plan, seed, noise_manifests or {}, noise_paths or {})
        else:
            config = read_conditions(conditions).with_noise_files(noise_manifests, noise_paths)
            config = config if seed is None else replace(config, seed=seed)
            if not config.noises:
                raise ValueError(f"{conditions} names no noises, wanted 'noises' and 'snrs_db'")
            make_place(plan, "plan")
            drawn = (config.noises, config.snrs_db, config.seed, config.rule, config.level)
            frozen = make_plan(utterances, *drawn, hash_test_set(utterances), num_workers)
            roots = roots_of(config.noises)
            _write_plan(plan, frozen)
        mixed = [one for one in utterances if one.id in frozen.speech]
        if wav_dir is not None:
            _write_wavs(plan, frozen, roots, mixed, wav_dir, num_workers)
    except ValueError as error:
        sys.exit(str(error))
    total, left_out = len(utterances), len(utterances) - len(mixed)
    print(f"{len(mixed)} of {total} utterances in {len(frozen.conditions)} conditions, plan {frozen.sha256}")
    if left_out > max_failed * total:
        sys.exit(f"{left_out} of {total} are not in {plan}, more than {max_failed:.0%}")


def _read_plan(
    path: Path, seed: int | None, manifests: dict[str, Path], paths: dict[str, Path]
) -> tuple[NoisePlan, dict[str, Path]]:
    plan = NoisePlan.read(path)
    if seed is not None and seed != plan.seed:
        raise ValueError(f"--seed {seed} came, {path} was drawn with {plan.seed}; leave it out or give --conditions")
    known = {*plan.noises, *plan.roots()}
    if unknown := sorted({*manifests, *paths} - known):
        raise ValueError(f"{path} does not list the noises {', '.join(unknown)}; it lists {', '.join(sorted(known))}")
    folders = {name: path.parent if path.is_file() else path for name, path in paths.items()}
    voices = roots_of({name: NoiseSpec("file", manifest=manifest) for name, manifest in manifests.items()})
    return plan, plan.roots() | folders | voices


def _write_plan(path: Path, plan: NoisePlan) -> None:
    if path.exists() and (there := NoisePlan.read(path)).sha256 != plan.sha256:
        mend = "give this one another name, or mix from that one without --conditions"
        raise PlanError(f"{path} is another plan: {_difference(there, plan)}; {mend}")
    plan.write(path)
    failures = [{"id": name, "why": why} for name, why in plan.failures]
    write_lines(path.with_name(f"{path.stem}.failures.jsonl"), failures)


def _difference(there: NoisePlan, now: NoisePlan) -> str:
    for key in ("seed", "rule", "level", "conditions", "manifest_sha256"):
        if getattr(there, key) != getattr(now, key):
            return f"it has {key}={getattr(there, key)}, now {key}={getattr(now, key)}"
    for name in there.speech.keys() | now.speech.keys():
        if there.speech.get(name) != now.speech.get(name):
            return f"the speech of {name!r} is another or is missing"
    for key, mix in there.mixes.items():
        for old, new in zip(mix.pieces, now.mixes[key].pieces, strict=False):
            if old.file == new.file and old.sha256 != new.sha256:
                return f"{old.file} of noise {mix.noise!r} was altered"
    return "it was drawn from other files of " + ", ".join(n for n in now.noises if there.noises[n] != now.noises[n])


def _write_wavs(
    path: Path, plan: NoisePlan, roots: dict[str, Path], utterances: Sequence[Utterance], wav_dir: Path, workers: int
) -> None:
    """Write missing wavs, then the manifest of each condition."""
    mix = partial(mix_one, plan=path, roots=tuple(roots.items()), wav_dir=wav_dir)
    for _, why in tqdm(run_each(mix, utterances, workers), total=len(utterances), unit="utterance"):
        if why is not None:  # a noisy test set is always the whole test set
            raise PlanError(why.why if isinstance(why, Crash) else why)
    for noise, snr_db in plan.conditions:
        folder, speech = _folder(wav_dir, noise, snr_db), plan.speech
        noisy = [u.with_own(audio=folder / f"{u.id}.wav", num_samples=speech[u.id].num_samples) for u in utterances]
        write_manifest(folder / "manifest.jsonl", noisy)


def mix_one(utterance: Utterance, plan: Path, roots: tuple[tuple[str, Path], ...], wav_dir: Path) -> str | None:
    """Write an utterance's wavs under all conditions; return the reason for failure or None."""
    mixer = open_mixer(plan, roots)
    rule, audio_S = mixer.plan.rule, None
    for noise, snr_db in mixer.plan.conditions:
        wav = _folder(wav_dir, noise, snr_db) / f"{utterance.id}.wav"
        try:
            if _holds(wav, rule, mixer.plan.lookup(utterance.id, noise, snr_db).sha256):
                continue
            assert utterance.audio is not None
            audio_S = read_audio(utterance.audio, span=utterance.span) if audio_S is None else audio_S
            heard_S = mixer.mix(audio_S, utterance.id, noise, snr_db)
            with written_whole(wav) as unfinished:
                if rule == "auto_avsr":
                    wavfile.write(unfinished, SAMPLE_RATE, heard_S)
                else:
                    write_wav(unfinished, heard_S)
        except (MediaError, PlanError) as error:
            return str(error)
        except OSError as error:  # an id that is no file name here, or a full disk
            return f"{wav} cannot be written: {error.strerror}"
    return None


def _holds(wav: Path, rule: str, sha256: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # cut short: the hash will tell
            _, samples_S = wavfile.read(wav)
    except (ValueError, OSError):
        return False
    scale = np.float32(1 if samples_S.dtype == np.float32 else 1 / 32768)
    return mix_sha256(rule, samples_S.astype(np.float32) * scale) == sha256


def _folder(wav_dir: Path, noise: str, snr_db: float | None) -> Path:
    return wav_dir / (noise if snr_db is None else f"{noise}_{snr_db:g}dB")


@cache
def open_mixer(plan: Path, roots: tuple[tuple[str, Path], ...]) -> PlanMixer:
    """Return this process's mixer, opened once."""
    return PlanMixer(NoisePlan.read(plan), dict(roots))


if __name__ == "__main__":
    auto_cli(main)
