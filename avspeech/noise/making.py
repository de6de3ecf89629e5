"""Make frozen noise plans (``avspeech.noise.plan``) for a test set, and check them.

A mix depends only on (seed, utterance, noise, SNR). Files are drawn in a random order of the whole pool and excluded
ones skipped, so a changed test set changes only mixes with newly excluded voices.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.manifest import Utterance, hash_test_set
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.noise import mixing
from avspeech.noise.drawn import ATTEMPTS, Sampler
from avspeech.noise.exact_noise import ExactDraws, stream_key
from avspeech.noise.mixing import speech_level, to_audio, to_steps
from avspeech.noise.plan import Mix, NoisePlan, Piece, Speech, label
from avspeech.noise.pools import open_pools
from avspeech.noise.room import choose_gain, reverberate
from avspeech.noise.spec import NoiseSpec
from avspeech.workers import die_with_parent

logger = logging.getLogger(__name__)

_SETTINGS = ("kind", "num_voices", "part", "split", "num_recordings", "test_speakers")
Planned = tuple[Speech, list[Mix]] | str  # an utterance's speech and its mixes, or why it cannot be read


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
    """Return the plan of a whole test set; unreadable utterances are listed in its ``failures``.

    ``noises`` are sources by name; ``rule`` and ``level`` are of ``avspeech.noise.mixing``; ``manifest_sha256`` is the
    hash of the test set; ``num_workers`` are processes, 0 works in this one. ValueError: a noise has no files, or an
    SNR is no number.
    """
    mixing.check_rule(rule, level)
    mixing.check_snrs(snrs_db := tuple(snrs_db))
    planner = _Planner(utterances, noises, snrs_db, (seed, rule, level, manifest_sha256))
    if num_workers == 0:
        results = [planner.plan(utterance) for utterance in utterances]
    else:  # spawned: a fork of a process with threads may hang
        with ProcessPoolExecutor(num_workers, get_context("spawn"), _keep_planner, (planner,)) as workers:
            results = list(workers.map(_plan_kept, utterances, chunksize=4))
    found = {one.id: result for one, result in zip(utterances, results, strict=True)}
    planned = [result for result in found.values() if not isinstance(result, str)]
    mixes = [mix for _, mixes in planned for mix in mixes]
    if bare := [mix for mix in mixes if mix.note is not None]:
        what = f"{bare[0].id!r} with {label(bare[0].noise, bare[0].snr_db)}: {bare[0].note}"
        logger.warning("%d of %d mixes have no noise in them; the first is %s", len(bare), len(mixes), what)
    return replace(
        planner.settings,
        speech={speech.id: speech for speech, _ in planned},
        mixes={(mix.id, mix.noise, mix.snr_db): mix for mix in mixes},
        failures=tuple((name, why) for name, why in found.items() if isinstance(why, str)),
    )


def plan_of(utterances: Sequence[Utterance], config: NoisySettings, path: Path) -> NoisePlan:
    """Return the plan in ``path`` if its header fits the configuration; otherwise make a new one and write it there.

    Changed noise files are detected only on mixing. ValueError: a noise has no files.
    """
    header = config.seed, config.rule, config.level, hash_test_set(utterances)
    if path.exists():
        found = NoisePlan.read(path)
        if found.speech.keys() == {one.id for one in utterances}:
            wanted = _Planner(utterances, config.noises, config.snrs_db, header).settings
            if replace(found, speech={}, mixes={}).sha256 == wanted.sha256:
                return found
    plan = make_plan(utterances, config.noises, config.snrs_db, *header)
    plan.write(path)
    return plan


def check_plan(plan: NoisePlan, utterances: Sequence[Utterance], config: NoisySettings, path: Path) -> None:
    """Raise ValueError if a plan lacks readable utterances or noise of a configuration; any seed will do."""
    pairs = [(key, getattr(plan, key), getattr(config, key)) for key in ("rule", "level")]
    for name, spec in config.noises.items():
        if (planned := plan.noises.get(name)) is None:
            raise ValueError(
                f"{path} has no noise {name!r}, which the conditions name; it has {', '.join(plan.noises)}"
            )
        wanted, rooms = spec.settings(), f"noises.{name}.impulse_responses"
        pairs += [(f"noises.{name}.{key}", planned.get(key), wanted.get(key)) for key in _SETTINGS]
        pairs += [(rooms, "impulse_responses" in planned, spec.impulse_responses is not None)]
    for key, planned, wanted in pairs:
        if planned != wanted:
            change = "change them or make a plan"
            raise ValueError(f"{path} was made with {key}={planned}, the conditions say {wanted}; {change}")
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


def _read_speech(utterance: Utterance) -> np.ndarray | str:
    """Return the speech in int16 steps, or why it cannot be read."""
    if utterance.audio is None:
        return "the manifest names no audio"
    try:
        steps_S = to_steps(read_audio(utterance.audio, span=utterance.span))
    except MediaError as error:
        return f"{type(error).__name__}: {error}"
    return steps_S if len(steps_S) else f"MediaError: {utterance.audio}: has no audio samples"


class _Planner:
    """Plans one utterance after the other; ``settings`` is the plan without utterances."""

    def __init__(
        self,
        utterances: Sequence[Utterance],
        noises: Mapping[str, NoiseSpec],
        snrs_db: Iterable[float],
        header: tuple[int, str, str, str],  # the first fields of ``NoisePlan``
    ) -> None:
        pools = open_pools(noises, utterances)
        self._sampler = Sampler(noises, pools, header[1], exact=True)
        self.settings = NoisePlan(
            *header,
            noises={name: pools[name].facts(spec) for name, spec in noises.items()},
            conditions=_conditions(noises, snrs_db),
            shares_test_speakers=tuple(name for name, pool in pools.items() if pool.shares_test_speakers),
            speech={},
            mixes={},
        )

    def plan(self, utterance: Utterance) -> Planned:
        steps_S = _read_speech(utterance)
        if isinstance(steps_S, str):
            return steps_S
        speech = Speech(utterance.id, len(steps_S), mixing.steps_sha256(steps_S))
        loudness = speech_level(to_audio(steps_S), self.settings.level)
        return speech, [self._mix(utterance, steps_S, loudness, *condition) for condition in self.settings.conditions]

    def _mix(self, utterance: Utterance, steps_S: np.ndarray, loudness: float, noise: str, snr_db: float | None) -> Mix:
        rule, pool, hashes = self.settings.rule, self._sampler.pools[noise], self._sampler.recordings.hashes
        draws = ExactDraws(stream_key(self.settings.seed, utterance.id, noise, snr_db))
        reverb = None
        if pool.rooms is not None:
            file, response_S = self._sampler.room(noise, draws)
            gain = choose_gain(steps_S, response_S)
            reverb = replace(Piece(file, gain=gain), **hashes(pool.rooms.root / file))
            steps_S = reverberate(steps_S, response_S, gain)
            loudness = speech_level(to_audio(steps_S), self.settings.level)
        speech_S = to_audio(steps_S)
        dry = Mix(utterance.id, noise, snr_db, sha256=mixing.mix_sha256(rule, speech_S), reverb=reverb)
        if snr_db is None:
            return dry
        if not loudness:
            found = "no active speech was found" if steps_S.any() else "the speech is silent"
            return replace(dry, note=f"{found}, so nothing is added")
        heard, noise_S = self._sampler.draw(noise, utterance, draws, len(steps_S))
        if noise_S is None:
            return replace(dry, note=f"the noise was silent {ATTEMPTS} times in a row, so nothing is added")
        pieces = [replace(one, **hashes(pool.root / str(one.file))) for one in heard]
        scale = mixing.choose_scale(rule, loudness, speech_S, noise_S, snr_db)
        mixed_S = mixing.add_noise(rule, speech_S, noise_S, scale)
        return replace(
            dry,
            pieces=tuple(pieces) or (Piece(generator=self._sampler.noises[noise].kind, key=draws.key),),
            scale=scale,
            measured_snr_db=mixing.measured_snr_db(loudness, speech_S, mixed_S),
            sha256=mixing.mix_sha256(rule, mixing.finish(rule, mixed_S, in_steps=True)),
        )


_kept: list[_Planner] = []  # this worker's, with the noise that it has decoded


def _keep_planner(planner: _Planner) -> None:
    die_with_parent()
    _kept[:] = [planner]


def _plan_kept(utterance: Utterance) -> Planned:
    return _kept[0].plan(utterance)
