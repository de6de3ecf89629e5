"""A frozen noise plan: every utterance's noise, exact to the sample, published instead of audio.

A plan is JSON lines in UTF-8: a header, then for each utterance one line for its speech and one for each condition::

    {"format": "avspeech noise plan", "version": 1, "sha256": of all else, "seed": 0, "rule": "avspeech",
     "level": "clip", "manifest_sha256": "...", "noises": {"babble": {"kind": "babble", "num_voices": [6, 6], ...}},
     "conditions": [["babble", 0.0], ["hall", null]], "num_utterances": 1, "shares_test_speakers": []}
    {"id": "s1/bbaf2n", "num_samples": 47926, "speech_sha256": of its int16 samples at 16 kHz, little endian}
    {"id": "s1/bbaf2n", "noise": "babble", "snr_db": 0.0, "pieces": [{"file": "s7/a.wav", "sha256": of its bytes,
     "samples_sha256": of its samples, "offset": 1234, "gain": 0.7}, ...], "scale": 0.5, "measured_snr_db": 0.0,
     "sha256": of the final samples}

- ``pieces``: the noise is their sum (``avhubert``: mean) times ``scale``. A ``file``, relative to its noise's root, is
  read at 16 kHz in int16 steps over 32768, starts at ``offset``, repeats and is multiplied by ``gain``. White and pink
  noise have ``generator`` and ``key`` instead (``exact_noise``).
- ``reverb``: room response: ``file`` relative to the root ``<noise>.impulse_responses``, hashes and ``gain``
  (``room``). It is applied first; SNRs refer to the reverberated speech.
- ``measured_snr_db``: before scaling to int16 and rounding. ``sha256``: of int16 steps (``auto_avsr``: float32).
- ``manifest_sha256``: ``avspeech.manifest.hash_test_set``, independent of file locations.
- ``note``: why no noise was added: silent speech, no active speech at level ``active``, or eight silent draws.

``snr_db`` is null without an SNR (reverberation). Clean speech is in no plan. The header's hash covers header and lines
as ``json.dumps`` with sorted keys, no blanks, ASCII, each ended by a line feed, without ``sha256`` itself and without
each noise's ``root`` and ``manifest_sha256``. A noise's ``files_sha256`` covers names and speakers of its whole pool.

``PlanMixer`` checks every hash, so a mix is identical or an error. Decoders differ for AAC or 44.1 kHz files: make
portable plans from 16 kHz wav files.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from avspeech.files import read_text_lines, write_lines
from avspeech.media.errors import MediaError
from avspeech.noise.exact_noise import exact_noise
from avspeech.noise.mixing import CLEAN, add_noise, finish, lay_over, mix_sha256, steps_sha256, to_audio, to_steps
from avspeech.noise.recordings import Recordings, split_part
from avspeech.noise.room import reverberate

FORMAT, VERSION = "avspeech noise plan", 1
_ALTERED = "the file was altered, get it anew"
_FACTS = ("seed", "rule", "level", "manifest_sha256", "noises", "conditions", "shares_test_speakers")


class PlanError(ValueError):
    """A plan was altered, or a file that it names is missing or another."""


@dataclass(frozen=True)
class Piece:
    """A stretch of noise, or the impulse response of a room, whose ``gain`` is of the convolution of int16 steps."""

    file: str | None = None
    sha256: str | None = None
    samples_sha256: str | None = None
    generator: str | None = None
    key: str | None = None
    offset: int = 0
    gain: float = 1.0

    def record(self) -> dict[str, Any]:
        # ``vars`` and not ``asdict``, whose deep copies took most of the time that reading a plan takes.
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class Speech:
    """The speech of an utterance."""

    id: str
    num_samples: int
    speech_sha256: str


@dataclass(frozen=True)
class Mix:
    """An utterance under a condition."""

    id: str
    noise: str
    snr_db: float | None
    pieces: tuple[Piece, ...] = ()
    scale: float = 0.0
    measured_snr_db: float | None = None  # none where nothing is added
    sha256: str = ""
    reverb: Piece | None = None
    note: str | None = None

    def record(self) -> dict[str, Any]:
        """Return the line of the plan; ``reverb`` and ``note`` only if set."""
        record = vars(self) | {"pieces": [piece.record() for piece in self.pieces]}
        if self.reverb is not None:
            record["reverb"] = {name: value for name, value in self.reverb.record().items() if name != "offset"}
        return {name: value for name, value in record.items() if value is not None or name not in ("reverb", "note")}

    @classmethod
    def of(cls, record: dict[str, Any]) -> "Mix":
        """Return the mix of a line. TypeError, KeyError: wrong keys."""
        reverb = Piece(**record["reverb"]) if "reverb" in record else None
        return cls(**record | {"pieces": tuple(Piece(**piece) for piece in record["pieces"]), "reverb": reverb})


@dataclass(frozen=True)
class NoisePlan:
    """A plan in memory, from ``avspeech.noise.making.make_plan`` or from a file."""

    seed: int
    rule: str
    level: str
    manifest_sha256: str
    noises: Mapping[str, Mapping[str, Any]]
    """Kind, voices, number of files, hash of their names, and ``root``, their folder."""
    conditions: tuple[tuple[str, float | None], ...]
    shares_test_speakers: tuple[str, ...]  # noises in which speakers of the test set are heard, or may be
    speech: Mapping[str, Speech] = field(repr=False)  # by utterance id, in the order of the manifest
    mixes: Mapping[tuple[str, str, float | None], Mix] = field(repr=False)
    failures: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # utterance left out, why; not in the file

    @cached_property
    def sha256(self) -> str:
        """The hash in the header."""
        return _hash_of([self._header() | {"noises": without_hints(self.noises)}, *self._records()])

    def lookup(self, utterance_id: str, noise: str, snr_db: float | None) -> Mix:
        """Return the mix of an utterance and a condition. PlanError: the plan lacks it."""
        if (noise, same_level(snr_db)) not in self.conditions:
            known = ", ".join(label(*one) for one in self.conditions)
            raise PlanError(f"the noise plan has no condition {label(noise, snr_db)}; it has {known}")
        if (found := self.mixes.get((utterance_id, noise, same_level(snr_db)))) is None:
            raise PlanError(f"the noise plan has no utterance {utterance_id!r}; make a plan for this manifest")
        return found

    def condition_sha256(self, noise: str, snr_db: float | None) -> str:
        """Return the hash over one condition's mixes. PlanError: the plan lacks the condition."""
        return _hash_of(self.lookup(utterance_id, noise, snr_db).record() for utterance_id in self.speech)

    def roots(self) -> dict[str, Path]:
        """Return each noise's folder at the time of planning, by noise and ``<noise>.impulse_responses``."""
        rooms = {f"{name}.impulse_responses": facts.get("impulse_responses", {}) for name, facts in self.noises.items()}
        return {name: Path(facts["root"]) for name, facts in {**self.noises, **rooms}.items() if "root" in facts}

    def write(self, path: str | Path) -> None:
        """Write the plan, whole or not at all."""
        head = {"format": FORMAT, "version": VERSION, "sha256": self.sha256}
        write_lines(path, (head | self._header(), *self._records()))

    @classmethod
    def read(cls, path: str | Path) -> "NoisePlan":
        """Read a plan and check its hash. PlanError: unreadable, another format or version, or altered."""
        path, number = Path(path), 1
        speech: dict[str, Speech] = {}
        mixes: dict[tuple[str, str, float | None], Mix] = {}
        try:
            first, *lines = read_text_lines(path) or [""]
            header = json.loads(first)
            if not isinstance(header, dict):
                raise PlanError(f"{path}: begins with a {type(header).__name__}, wanted the header, a JSON object")
            if (header.get("format"), header.get("version")) != (FORMAT, VERSION):
                found = f"format {header.get('format')!r}, version {header.get('version')!r}"
                raise PlanError(f"{path}: has {found}, wanted {FORMAT!r}, version {VERSION}")
            if lacking := [name for name in _FACTS if name not in header]:
                raise PlanError(f"{path}: the header lacks {', '.join(lacking)}; wanted what {__name__} describes")
            facts = {name: header[name] for name in _FACTS}
            facts["conditions"] = tuple((name, snr_db) for name, snr_db in facts["conditions"])
            facts["shares_test_speakers"] = tuple(facts["shares_test_speakers"])
            for line in lines:
                number += 1
                record = json.loads(line) if line else {}
                if "noise" in record:
                    mix = Mix.of(record)
                    mixes[mix.id, mix.noise, same_level(mix.snr_db)] = mix
                elif record:
                    speech[record["id"]] = Speech(**record)
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"{path}: cannot be read as a noise plan: {error}") from error
        except PlanError:
            raise
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            raise PlanError(f"{path}, line {number}: is no line of a noise plan, see {__name__}: {why}") from error
        plan = cls(**facts, speech=speech, mixes=mixes)
        if plan.sha256 != header.get("sha256") or header.get("num_utterances") != len(speech):
            told = header.get("sha256")
            raise PlanError(f"{path}: its lines have the sha256 {plan.sha256}, its header says {told}; {_ALTERED}")
        for utterance_id, noise, snr_db in mixes:  # the hash does not cover them, and they could be mixed from
            if utterance_id not in speech or (noise, snr_db) not in plan.conditions:
                what = f"a mix of {utterance_id!r} with {label(noise, snr_db)}"
                raise PlanError(f"{path}: has {what}, which its header or its speech does not name; {_ALTERED}")
        return plan

    def _header(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _FACTS} | {"num_utterances": len(self.speech)}

    def _records(self) -> Iterator[dict[str, Any]]:
        for utterance_id, speech in self.speech.items():
            yield vars(speech)
            for noise, snr_db in self.conditions:
                if mix := self.mixes.get((utterance_id, noise, snr_db)):
                    yield mix.record()


class PlanMixer:
    """Mixes from a plan, the same bytes in every process, with ``cache_bytes`` of memory for decoded noise.

    ``roots`` holds each noise's folder by noise, and room folders by ``<noise>.impulse_responses``.
    """

    def __init__(self, plan: NoisePlan, roots: Mapping[str, Path], cache_bytes: int = 1 << 30) -> None:
        self.plan, self.roots = plan, {name: Path(root) for name, root in roots.items()}
        self._files = Recordings(cache_bytes)

    def mix(self, audio_S: np.ndarray, utterance_id: str, noise: str, snr_db: float | None) -> np.ndarray:
        """Return speech under a condition, (S,) float32; noise ``none`` returns it unchanged.

        ``audio_S`` is the whole utterance, float32 in [-1, 1] at 16 kHz. PlanError: the plan lacks the utterance or
        condition, a file is missing, or a hash differs.
        """
        if noise == CLEAN and snr_db is None:
            return audio_S
        mix, known, rule = self.plan.lookup(utterance_id, noise, snr_db), self.plan.speech[utterance_id], self.plan.rule
        steps_S = to_steps(audio_S)
        samples, found = len(steps_S), steps_sha256(steps_S)
        if (samples, found) != (known.num_samples, known.speech_sha256):
            raise PlanError(
                f"the speech of {utterance_id!r} has {samples} samples of sha256 {found[:12]}, the noise plan was made "
                f"for {known.num_samples} of {known.speech_sha256[:12]}: it was altered, or another FFmpeg decoded it"
            )
        if mix.reverb is not None:
            response_S = self._steps(f"{noise}.impulse_responses", mix.reverb, samples)
            steps_S = reverberate(steps_S, response_S, mix.reverb.gain)
        heard_S = to_audio(steps_S)
        if mix.pieces:
            pieces = [(self._steps(noise, one, samples), one.offset, one.gain) for one in mix.pieces]
            noise_S = lay_over(rule, pieces, samples, voices="num_voices" in self.plan.noises[noise])
            heard_S = finish(rule, add_noise(rule, heard_S, noise_S, mix.scale), in_steps=True)
        if (found := mix_sha256(rule, heard_S)) != mix.sha256:
            of = ", ".join(piece.file or f"{piece.generator} noise" for piece in mix.pieces) or "no noise"
            raise PlanError(
                f"{mix.id!r} with {mix.noise} at {mix.snr_db} dB ({of}) mixes to sha256 {found[:12]}, the noise plan "
                f"says {mix.sha256[:12]}: its speech and noise are as planned, so another program made the plan"
            )
        return heard_S

    def _steps(self, noise: str, planned: Piece, num_samples: int) -> np.ndarray:
        """Return int16 steps: generated, or of a file whose hashes are right."""
        if planned.file is None:
            return exact_noise(str(planned.generator), str(planned.key), num_samples)
        if noise not in self.roots:
            raise PlanError(f"the plan needs {planned.file} of noise {noise!r}, and no folder was given; name its root")
        path = self.roots[noise] / planned.file
        what = f"{path} of noise {noise!r}"
        if not split_part(path)[0].is_file():
            raise PlanError(f"{what} is missing; the noise plan needs it, get it or name another root")
        try:
            found = self._files.hashes(path)
            if found["sha256"] != planned.sha256:
                raise PlanError(f"{what} was altered: it has sha256 {found['sha256']}, the noise plan {planned.sha256}")
            if found["samples_sha256"] != planned.samples_sha256:
                raise PlanError(
                    f"{what} is the file of the noise plan but decodes to other samples here, with another FFmpeg "
                    "(PyAV): convert it to 16 kHz wav for the plan"
                )
            return self._files.steps(path)
        except MediaError as error:
            raise PlanError(f"{error} (noise {noise!r}, needed by the noise plan)") from error


def without_hints(facts: Any) -> Any:
    """Return facts of noises without paths and manifest hashes, which differ between machines."""
    if isinstance(facts, Mapping):
        return {key: without_hints(value) for key, value in facts.items() if key not in ("root", "manifest_sha256")}
    return facts


def _hash_of(records: Iterable[dict[str, Any]]) -> str:
    digest = hashlib.sha256()
    for record in records:
        digest.update(json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def same_level(snr_db: float | None) -> float | None:
    """Return an SNR such that 5 and 5.0, and 0.0 and -0.0, are one condition."""
    return None if snr_db is None else float(snr_db) + 0.0


def label(noise: str, snr_db: float | None) -> str:
    """Return ``babble -5 dB``, or ``hall`` where there is no SNR."""
    return noise if snr_db is None else f"{noise} {snr_db:g} dB"
