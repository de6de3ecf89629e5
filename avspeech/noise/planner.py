"""Plans the noise of one utterance after the other, in any number of processes.

Everything in a mix is drawn from (seed, utterance, noise, SNR), so a plan is the same for any number of processes.
Files of a pool are drawn in a random order of the whole pool, and those that may not be heard (voices of the test set's
speakers) are passed over: a change of the test set touches only mixes in which somebody was heard who no longer may.

What a worker imports is in this file: it need not wait for torch.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from avspeech.manifest import Utterance
from avspeech.media.audio import read_audio
from avspeech.media.errors import MediaError
from avspeech.noise.exact_noise import ExactDraws, exact_noise, stream_key
from avspeech.noise.plan import Mix, Piece, Reverb, Speech
from avspeech.noise.pools import Pool
from avspeech.noise.recordings import FULL_SCALE, PcmFiles, steps_sha256, to_steps
from avspeech.noise.room import choose_gain, reverberate
from avspeech.noise.rules import (
    add_noise,
    choose_scale,
    finish,
    lay_over,
    measured_snr_db,
    mix_sha256,
    speech_level,
)
from avspeech.noise.spec import NoiseSpec

logger = logging.getLogger(__name__)

_ATTEMPTS = 8  # at noise with sound in it
_VOICE_RMS = 0.05  # that every voice of babble is brought to


def plan_all(
    planner: "Planner", utterances: Sequence[Utterance], num_workers: int
) -> Iterator["tuple[Speech, list[Mix]] | str"]:
    """Yield what ``planner.plan`` says of each utterance, in their order; 0 workers works in this process."""
    if num_workers == 0:
        yield from map(planner.plan, utterances)
        return
    # Spawned: a fork of a process with threads may hang.
    with ProcessPoolExecutor(num_workers, get_context("spawn"), _keep_planner, (planner,)) as pool:
        yield from pool.map(_plan_kept, utterances, chunksize=4)


def read_speech(utterance: Utterance) -> np.ndarray | str:
    """Return the speech in int16 steps, or why there is none."""
    if utterance.audio is None:
        return "the manifest names no audio"
    try:
        steps_S = to_steps(read_audio(utterance.audio))
    except MediaError as error:
        return f"{type(error).__name__}: {error}"
    return steps_S if len(steps_S) else f"MediaError: {utterance.audio}: has no audio samples"


_kept: "list[Planner]" = []  # this worker's, with the noise that it has decoded


def _keep_planner(planner: "Planner") -> None:
    _kept[:] = [planner]


def _plan_kept(utterance: Utterance) -> "tuple[Speech, list[Mix]] | str":
    return _kept[0].plan(utterance)


class Planner:
    """Plans one utterance after the other.

    Args:
        noises: where each noise comes from, by name.
        pools: its files, by name.
        conditions: noise and SNR of each mix.
        seed: of every draw.
        rule: one of ``avspeech.noise.rules.RULES``.
        level: one of ``avspeech.noise.rules.LEVELS``.
    """

    def __init__(
        self,
        noises: dict[str, NoiseSpec],
        pools: dict[str, Pool],
        conditions: tuple[tuple[str, float | None], ...],
        seed: int,
        rule: str,
        level: str,
    ) -> None:
        self.noises, self.pools, self.conditions = noises, pools, conditions
        self.seed, self.rule, self.level = seed, rule, level
        self._files = PcmFiles()
        self._unreadable: set[Path] = set()

    def plan(self, utterance: Utterance) -> tuple[Speech, list[Mix]] | str:
        """Return what is known of the speech and its mixes, or why it cannot be read."""
        steps_S = read_speech(utterance)
        if isinstance(steps_S, str):
            return steps_S
        speech = Speech(utterance.id, len(steps_S), steps_sha256(steps_S))
        loudness = speech_level(steps_S, self.level)
        return speech, [self._mix(utterance, steps_S, loudness, *condition) for condition in self.conditions]

    def _mix(self, utterance: Utterance, steps_S: np.ndarray, loudness: float, noise: str, snr_db: float | None) -> Mix:
        key = stream_key(self.seed, utterance.id, noise, snr_db)
        draws, rule = ExactDraws(key), self.rule
        reverb = None
        if self.noises[noise].impulse_responses is not None:
            reverb, response_S = self._room(noise, steps_S, draws)
            steps_S = reverberate(steps_S, response_S, reverb.gain)
            loudness = speech_level(steps_S, self.level)
        dry = Mix(utterance.id, noise, snr_db, reverb=reverb)
        speech_S = steps_S.astype(np.float32) / np.float32(FULL_SCALE)
        dry = replace(dry, sha256=mix_sha256(rule, speech_S))
        if snr_db is None:
            return dry
        if not loudness:
            found = "no active speech was found" if steps_S.any() else "the speech is silent"
            return replace(dry, note=f"{found}, so nothing is added")
        for _ in range(_ATTEMPTS):
            pieces = self._pieces(utterance, noise, draws, key, len(steps_S))
            heard = [(self._samples(noise, piece, len(steps_S)), piece.offset, piece.gain) for piece in pieces]
            noise_S = lay_over(rule, heard, len(steps_S))
            if noise_S.any():
                scale = choose_scale(rule, loudness, steps_S, noise_S, snr_db)
                mixed_S = add_noise(rule, steps_S, noise_S, scale)
                measured = measured_snr_db(loudness, steps_S, mixed_S)
                digest = mix_sha256(rule, finish(rule, mixed_S))
                return replace(dry, pieces=tuple(pieces), scale=scale, measured_snr_db=measured, sha256=digest)
        return replace(dry, note=f"the noise was silent {_ATTEMPTS} times in a row, so nothing is added")

    def _pieces(self, utterance: Utterance, noise: str, draws: ExactDraws, key: str, num_samples: int) -> list[Piece]:
        spec, pool = self.noises[noise], self.pools[noise]
        if spec.kind in ("white", "pink"):
            return [Piece(generator=spec.kind, key=key)]
        count = draws.between(*spec.voices) if spec.is_babble else 1
        pieces = []
        for index in draws.shuffled(len(pool.files)):
            if len(pieces) == count:
                break
            path = pool.root / pool.files[index]
            if not pool.allows(index, utterance) or not self._readable(noise, path):
                continue
            facts = self._files.facts(path)
            if facts.rms or not spec.is_babble:  # a voice without sound is no voice
                offset = self._offset(draws, facts.num_samples, num_samples)
                gain = _VOICE_RMS / facts.rms if spec.is_babble and self.rule != "avhubert" else 1.0
                pieces.append(Piece(pool.files[index], facts.sha256, facts.samples_sha256, offset=offset, gain=gain))
        if len(pieces) < count:
            wanted = "voices with sound" if spec.is_babble else "readable recordings"
            raise ValueError(
                f"noises.{noise}: {len(pieces)} {wanted} are left for utterance {utterance.id!r}, wanted {count}, of "
                f"the {len(pool.files)} of {pool.source}; add some, the log names those that cannot be read"
            )
        return pieces

    def _offset(self, draws: ExactDraws, noise_samples: int, num_samples: int) -> int:
        if self.rule == "avhubert":
            return 0
        return draws.below(max(1, noise_samples - num_samples + 1) if self.rule == "auto_avsr" else noise_samples)

    def _readable(self, noise: str, path: Path) -> bool:
        if path in self._unreadable:
            return False
        try:
            if self._files.facts(path).num_samples:
                return True
            logger.warning("noises.%s: %s has no samples and is left out", noise, path)
        except MediaError as error:
            logger.warning("noises.%s: left out: %s", noise, error)
        self._unreadable.add(path)
        return False

    def _samples(self, noise: str, piece: Piece, num_samples: int) -> np.ndarray:
        if piece.file is not None:
            return self._files.steps(self.pools[noise].root / piece.file)
        assert piece.generator is not None and piece.key is not None
        return exact_noise(piece.generator, piece.key, num_samples)

    def _room(self, noise: str, steps_S: np.ndarray, draws: ExactDraws) -> tuple[Reverb, np.ndarray]:
        rooms = self.pools[noise].rooms
        assert rooms is not None
        for index in draws.shuffled(len(rooms.files)):
            path = rooms.root / rooms.files[index]
            if self._readable(noise, path) and (facts := self._files.facts(path)).rms:
                response_S = self._files.steps(path)
                gain = choose_gain(steps_S, response_S)
                return Reverb(rooms.files[index], facts.sha256, facts.samples_sha256, gain), response_S
        raise ValueError(f"noises.{noise}.impulse_responses={rooms.source}: none of the files can be read or has sound")
