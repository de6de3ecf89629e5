"""Makes frozen noise plans (``avspeech.noise.plan``) for a test set, and sees whether one fits."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

from avspeech.manifest import Utterance, hash_test_set
from avspeech.noise.plan import Mix, NoisePlan, Speech
from avspeech.noise.plan_records import label
from avspeech.noise.planner import Planner, plan_all, read_speech
from avspeech.noise.pools import SETTINGS, Pool, open_pools
from avspeech.noise.rules import check_rule, check_snrs
from avspeech.noise.spec import NoiseSpec

logger = logging.getLogger(__name__)


class NoisySettings(Protocol):
    """What a plan is made of, as ``avspeech.evaluation.conditions.EvaluationConfig`` has it."""

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
    """Return the plan of a test set; utterances that cannot be read are left out and stand in its ``failures``.

    Args:
        utterances: the whole test set.
        noises: where each noise comes from, by name.
        snrs_db: each noise that has an SNR is mixed in at each.
        seed: of every draw.
        rule: one of ``avspeech.noise.rules.RULES``.
        level: one of ``avspeech.noise.rules.LEVELS``.
        manifest_sha256: of the test set, for the header.
        num_workers: processes; 0 works in this one. The plan does not depend on it.

    Raises:
        ValueError: a noise cannot be had, or there is no such SNR; names its key.
    """
    check_rule(rule, level)
    snrs_db = tuple(snrs_db)
    check_snrs(snrs_db)
    pools = open_pools(noises, utterances)
    empty = _empty_plan(pools, noises, snrs_db, seed, rule, level, manifest_sha256)
    planner = Planner(dict(noises), pools, empty.conditions, seed, rule, level)
    speech: dict[str, Speech] = {}
    mixes: dict[tuple[str, str, float | None], Mix] = {}
    failures: list[tuple[str, str]] = []
    for utterance, result in zip(utterances, plan_all(planner, utterances, num_workers), strict=True):
        if isinstance(result, str):
            failures.append((utterance.id, result))
            continue
        speech[utterance.id] = result[0]
        mixes |= {(mix.id, mix.noise, mix.snr_db): mix for mix in result[1]}
    if bare := [mix for mix in mixes.values() if mix.note is not None]:
        what = f"{bare[0].id!r} with {label(bare[0].noise, bare[0].snr_db)}: {bare[0].note}"
        logger.warning("%d of %d mixes have no noise in them; the first is %s", len(bare), len(mixes), what)
    return replace(empty, speech=speech, mixes=mixes, failures=tuple(failures))


def _empty_plan(
    pools: Mapping[str, Pool],
    noises: Mapping[str, NoiseSpec],
    snrs_db: Iterable[float],
    seed: int,
    rule: str,
    level: str,
    manifest_sha256: str,
) -> NoisePlan:
    """Return a plan with a header and no utterances."""
    levels = [float(snr_db) + 0.0 for snr_db in snrs_db]
    return NoisePlan(
        seed,
        rule,
        level,
        manifest_sha256,
        noises={name: pools[name].facts(spec) for name, spec in noises.items()},
        conditions=tuple(
            (name, snr_db) for name, spec in noises.items() for snr_db in (levels if spec.has_snr else [None])
        ),
        shares_test_speakers=tuple(name for name, pool in pools.items() if pool.shares_test_speakers),
        speech={},
        mixes={},
    )


def check_plan(plan: NoisePlan, utterances: Sequence[Utterance], config: NoisySettings, path: Path) -> None:
    """Check that a plan covers a test set and the noise of a configuration.

    The seed is not compared: a published plan is taken as it is, whatever it was drawn with. Utterances that cannot be
    read need no plan.

    Raises:
        ValueError: names the plan's file and the key that differs.
    """
    for key in ("rule", "level"):
        _need_same(path, key, getattr(plan, key), getattr(config, key))
    for name, spec in config.noises.items():
        if name not in plan.noises:
            raise ValueError(
                f"{path} has no noise {name!r}, which the conditions name; it has {', '.join(plan.noises)}"
            )
        planned, settings = plan.noises[name], Pool.settings(spec)
        for key in SETTINGS:
            _need_same(path, f"noises.{name}.{key}", planned.get(key), settings.get(key))
        if ("impulse_responses" in planned) != (spec.impulse_responses is not None):
            without, within = ("without", "with") if spec.impulse_responses is not None else ("with", "without")
            raise ValueError(
                f"{path} was made {without} noises.{name}.impulse_responses, the conditions are {within} them; change "
                "them or make a plan"
            )
        for snr_db in config.snrs_db if spec.has_snr else (None,):
            if (name, snr_db) not in plan.conditions:
                known = ", ".join(
                    f"{level:g}" for noise, level in plan.conditions if noise == name and level is not None
                )
                raise ValueError(f"{path} has no {name} at {snr_db} dB, which the conditions name; it has {known}")
    missing = [one.id for one in utterances if one.id not in plan.speech and isinstance(read_speech(one), np.ndarray)]
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} of {len(utterances)} utterances, the first is {missing[0]!r}")


def _need_same(path: Path, key: str, planned: object, wanted: object) -> None:
    if planned != wanted:
        raise ValueError(
            f"{path} was made with {key}={planned}, the conditions say {wanted}; change them or make a plan"
        )


def plan_of(utterances: Sequence[Utterance], config: NoisySettings, path: Path, num_workers: int = 0) -> NoisePlan:
    """Return the plan of a configuration, made and written to ``path``, or read where it lies there already.

    One that lies there is taken if its header says that it was made of the same test set, noises and settings. Noise
    files that were altered since are noticed when it is mixed from.

    Raises:
        ValueError: a noise cannot be had; names the key.
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
