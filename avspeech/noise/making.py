"""Make frozen noise plans (``avspeech.noise.plan``) for a test set, and check them.

A mix depends only on (seed, utterance, noise, SNR). Files are drawn in a random order of the whole pool and excluded
ones skipped, so a changed test set changes only mixes with newly excluded voices.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.manifest import Utterance, hash_test_set
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.noise.exact_noise import ExactDraws, stream_key
from avspeech.noise.mixing import (
    add_noise,
    check_rule,
    check_snrs,
    choose_scale,
    finish,
    measured_snr_db,
    mix_sha256,
    speech_level,
    steps_sha256,
    to_audio,
    to_steps,
)
from avspeech.noise.plan import NoisePlan
from avspeech.noise.plan_records import Mix, Piece, Reverb, Speech, label
from avspeech.noise.pools import Pool, open_pools
from avspeech.noise.room import choose_gain, reverberate
from avspeech.noise.sampling import ATTEMPTS, Sampler
from avspeech.noise.spec import GENERATED, NoiseSpec

logger = logging.getLogger(__name__)

_SETTINGS = ("kind", "num_voices", "part", "split", "num_recordings", "test_speakers")


class NoisySettings(Protocol):
    """Settings of a plan, a part of ``avspeech.evaluation.conditions.EvaluationConfig``."""

    @property
    def noises(self) -> Mapping[str, NoiseSpec]: ...
    @property
    def snrs_db(self) -> tuple[float, ...]: ...
    @property
    def seed(self) -> int: ...
    @property
    def rule(self) -> str: ...
    @property
    def level(self) -> str: ...


def make_plan(
    utterances: Sequence[Utterance],
    noises: Mapping[str, NoiseSpec],
    snrs_db: Iterable[float],
    seed: int,
    rule: str = "avspeech",
    level: str = "clip",
    manifest_sha256: str = "",
    num_workers: int = 0,
) -> NoisePlan:
    """Return the plan of a test set; unreadable utterances are listed in its ``failures``.

    Args:
        utterances: the whole test set.
        noises: source of each noise, by name.
        snrs_db: SNRs at which each noise is mixed.
        seed: of every draw.
        rule, level: of ``avspeech.noise.mixing.RULES`` and ``LEVELS``.
        manifest_sha256: hash of the test set.
        num_workers: processes; 0 works in this one.

    Raises:
        ValueError: a noise has no files, or an SNR is no number.
    """
    check_rule(rule, level)
    snrs_db = tuple(snrs_db)
    check_snrs(snrs_db)
    pools = open_pools(noises, utterances)
    empty = _empty_plan(pools, noises, snrs_db, seed, rule, level, manifest_sha256)
    planner = Planner(empty, noises, pools)
    speech: dict[str, Speech] = {}
    mixes: dict[tuple[str, str, float | None], Mix] = {}
    failures: list[tuple[str, str]] = []
    for utterance, result in zip(utterances, _plan_all(planner, utterances, num_workers), strict=True):
        if isinstance(result, str):
            failures.append((utterance.id, result))
            continue
        speech[utterance.id] = result[0]
        mixes |= {(mix.id, mix.noise, mix.snr_db): mix for mix in result[1]}
    if bare := [mix for mix in mixes.values() if mix.note is not None]:
        what = f"{bare[0].id!r} with {label(bare[0].noise, bare[0].snr_db)}: {bare[0].note}"
        logger.warning("%d of %d mixes have no noise in them; the first is %s", len(bare), len(mixes), what)
    return replace(empty, speech=speech, mixes=mixes, failures=tuple(failures))


def plan_of(utterances: Sequence[Utterance], config: NoisySettings, path: Path, num_workers: int = 0) -> NoisePlan:
    """Return the plan in ``path`` if its header fits the configuration; otherwise make a new one and write it there.

    Changed noise files are detected only on mixing. ValueError: a noise has no files.
    """
    settings = config.noises, config.snrs_db, config.seed, config.rule, config.level, hash_test_set(utterances)
    if path.exists():
        found = NoisePlan.read(path)
        if found.speech.keys() == {one.id for one in utterances}:
            empty = _empty_plan(open_pools(config.noises, utterances), *settings)
            if replace(found, speech={}, mixes={}).sha256 == empty.sha256:
                return found
    plan = make_plan(utterances, *settings, num_workers)
    plan.write(path)
    return plan


def check_plan(plan: NoisePlan, utterances: Sequence[Utterance], config: NoisySettings, path: Path) -> None:
    """Check that a plan covers a test set and a configuration's noise; ValueError names the file and the key.

    The seed is not compared, so a published plan is valid. Unreadable utterances need no plan.
    """
    pairs = [(key, getattr(plan, key), getattr(config, key)) for key in ("rule", "level")]
    for name, spec in config.noises.items():
        if name not in plan.noises:
            raise ValueError(
                f"{path} has no noise {name!r}, which the conditions name; it has {', '.join(plan.noises)}"
            )
        planned, settings = plan.noises[name], spec.settings()
        pairs += [(f"noises.{name}.{key}", planned.get(key), settings.get(key)) for key in _SETTINGS]
        if ("impulse_responses" in planned) != (spec.impulse_responses is not None):
            without, within = ("without", "with") if spec.impulse_responses is not None else ("with", "without")
            raise ValueError(
                f"{path} was made {without} noises.{name}.impulse_responses, the conditions are {within} them; change "
                "them or make a plan"
            )
    for key, planned, wanted in pairs:
        if planned != wanted:
            raise ValueError(
                f"{path} was made with {key}={planned}, the conditions say {wanted}; change them or make a plan"
            )
    for name, snr_db in _conditions(config.noises, config.snrs_db):
        if (name, snr_db) not in plan.conditions:
            known = ", ".join(f"{level:g}" for noise, level in plan.conditions if noise == name and level is not None)
            raise ValueError(f"{path} has no {name} at {snr_db} dB, which the conditions name; it has {known}")
    missing = [one.id for one in utterances if one.id not in plan.speech and isinstance(_read_speech(one), np.ndarray)]
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} of {len(utterances)} utterances, the first is {missing[0]!r}")


def _conditions(noises: Mapping[str, NoiseSpec], snrs_db: Iterable[float]) -> tuple[tuple[str, float | None], ...]:
    levels = [float(snr_db) + 0.0 for snr_db in snrs_db]
    return tuple((name, snr_db) for name, spec in noises.items() for snr_db in (levels if spec.has_snr else [None]))


def _empty_plan(
    pools: Mapping[str, Pool],
    noises: Mapping[str, NoiseSpec],
    snrs_db: Iterable[float],
    seed: int,
    rule: str,
    level: str,
    manifest_sha256: str,
) -> NoisePlan:
    return NoisePlan(
        seed,
        rule,
        level,
        manifest_sha256,
        noises={name: pools[name].facts(spec) for name, spec in noises.items()},
        conditions=_conditions(noises, snrs_db),
        shares_test_speakers=tuple(name for name, pool in pools.items() if pool.shares_test_speakers),
        speech={},
        mixes={},
    )


def _read_speech(utterance: Utterance) -> np.ndarray | str:
    """Return the speech in int16 steps, or why it cannot be read."""
    if utterance.audio is None:
        return "the manifest names no audio"
    try:
        steps_S = to_steps(read_audio(utterance.audio))
    except MediaError as error:
        return f"{type(error).__name__}: {error}"
    return steps_S if len(steps_S) else f"MediaError: {utterance.audio}: has no audio samples"


class Planner:
    """Plans one utterance after the other; ``noises`` and ``pools`` hold each noise's source and files, by name."""

    def __init__(self, plan: NoisePlan, noises: Mapping[str, NoiseSpec], pools: Mapping[str, Pool]) -> None:
        self.settings = plan
        self._sampler = Sampler(noises, pools, plan.rule, exact=True)

    def plan(self, utterance: Utterance) -> tuple[Speech, list[Mix]] | str:
        """Return the facts of the speech and its mixes, or why it cannot be read."""
        steps_S = _read_speech(utterance)
        if isinstance(steps_S, str):
            return steps_S
        speech = Speech(utterance.id, len(steps_S), steps_sha256(steps_S))
        loudness = speech_level(to_audio(steps_S), self.settings.level)
        return speech, [self._mix(utterance, steps_S, loudness, *condition) for condition in self.settings.conditions]

    def _mix(self, utterance: Utterance, steps_S: np.ndarray, loudness: float, noise: str, snr_db: float | None) -> Mix:
        rule, spec, pool = self.settings.rule, self._sampler.noises[noise], self._sampler.pools[noise]
        draws = ExactDraws(stream_key(self.settings.seed, utterance.id, noise, snr_db))
        reverb = None
        if pool.rooms is not None:
            file, response_S = self._sampler.room(noise, draws)
            gain = choose_gain(steps_S, response_S)
            reverb = Reverb(file, **vars(self._sampler.recordings.hashes(pool.rooms.root / file)), gain=gain)
            steps_S = reverberate(steps_S, response_S, gain)
            loudness = speech_level(to_audio(steps_S), self.settings.level)
        speech_S = to_audio(steps_S)
        dry = Mix(utterance.id, noise, snr_db, sha256=mix_sha256(rule, speech_S), reverb=reverb)
        if snr_db is None:
            return dry
        if not loudness:
            found = "no active speech was found" if steps_S.any() else "the speech is silent"
            return replace(dry, note=f"{found}, so nothing is added")
        heard, noise_S = self._sampler.draw(noise, utterance, draws, len(steps_S))
        if noise_S is None:
            return replace(dry, note=f"the noise was silent {ATTEMPTS} times in a row, so nothing is added")
        hashes = self._sampler.recordings.hashes
        pieces = [
            Piece(one.file, **vars(hashes(pool.root / one.file)), offset=one.offset, gain=one.gain) for one in heard
        ]
        if spec.kind in GENERATED:
            pieces = [Piece(generator=spec.kind, key=draws.key)]
        scale = choose_scale(rule, loudness, speech_S, noise_S, snr_db)
        mixed_S = add_noise(rule, speech_S, noise_S, scale)
        return replace(
            dry,
            pieces=tuple(pieces),
            scale=scale,
            measured_snr_db=measured_snr_db(loudness, speech_S, mixed_S),
            sha256=mix_sha256(rule, finish(rule, mixed_S, in_steps=True)),
        )


def _plan_all(
    planner: Planner, utterances: Sequence[Utterance], num_workers: int
) -> Iterator[tuple[Speech, list[Mix]] | str]:
    """Yield ``planner.plan`` of each utterance, in order; 0 workers uses this process."""
    if num_workers == 0:
        yield from map(planner.plan, utterances)
        return
    # Spawned: a fork of a process with threads may hang.
    with ProcessPoolExecutor(num_workers, get_context("spawn"), _keep_planner, (planner,)) as pool:
        yield from pool.map(_plan_kept, utterances, chunksize=4)


_kept: list[Planner] = []  # this worker's, with the noise that it has decoded


def _keep_planner(planner: Planner) -> None:
    _kept[:] = [planner]


def _plan_kept(utterance: Utterance) -> tuple[Speech, list[Mix]] | str:
    return _kept[0].plan(utterance)
