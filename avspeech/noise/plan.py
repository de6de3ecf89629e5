"""A frozen noise plan: every utterance's noise, exact to the sample, published instead of audio.

A plan is JSON lines in UTF-8: a header, then for each utterance one line for its speech and one for each condition::

    {"format": "avspeech noise plan", "version": 1, "sha256": of all else, "seed": 0, "rule": "avspeech",
     "level": "clip", "manifest_sha256": "...", "noises": {"babble": {"kind": "babble", "num_voices": [6, 6], ...}},
     "conditions": [["babble", 0.0], ["hall", null]], "num_utterances": 1, "shares_test_speakers": []}
    {"id": "s1/bbaf2n", "num_samples": 47926, "speech_sha256": of its int16 samples at 16 kHz, little endian}
    {"id": "s1/bbaf2n", "noise": "babble", "snr_db": 0.0, "pieces": [{"file": "s7/a.wav", "sha256": of its bytes,
     "samples_sha256": of its samples, "offset": 1234, "gain": 0.7}, ...], "scale": 0.5, "measured_snr_db": 0.0,
     "sha256": of the final samples}

- ``pieces``: the noise is their sum (``avhubert``: mean). A ``file``, relative to its noise's root, is read at 16 kHz
  in int16 steps over 32768, starts at ``offset``, repeats and is multiplied by ``gain``. White and pink noise have
  ``generator`` and ``key`` instead (``exact_noise``).
- ``scale``: factor of that noise. ``measured_snr_db`` is measured before scaling to int16 and rounding.
- ``reverb``: room response: ``file`` relative to the root ``<noise>.impulse_responses``, hashes and ``gain``
  (``room``). It is applied first; SNRs refer to the reverberated speech.
- ``sha256``: of the mix in int16 steps; for ``auto_avsr`` in float32.
- ``manifest_sha256``: ``avspeech.manifest.hash_test_set``, independent of file locations.
- ``note``: why no noise was added: silent speech, no active speech at level ``active``, or eight silent draws.

``snr_db`` is null without an SNR (reverberation). Clean speech is in no plan. The header's hash covers header and lines
as ``json.dumps`` with sorted keys, no blanks, ASCII, each ended by a line feed, without ``sha256`` itself and without
each noise's ``root`` and ``manifest_sha256``. A noise's ``files_sha256`` covers names and speakers of its whole pool.

``PlanMixer`` checks every hash, so a mix is identical or an error. Decoders differ for AAC or 44.1 kHz files: make
portable plans from 16 kHz wav files.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from avspeech.files import write_lines
from avspeech.media.errors import MediaError
from avspeech.noise.exact_noise import exact_noise
from avspeech.noise.mixing import CLEAN, add_noise, finish, lay_over, mix_sha256, steps_sha256, to_audio, to_steps
from avspeech.noise.plan_records import (
    Mix,
    Piece,
    PlanError,
    Reverb,
    Speech,
    canonical,
    label,
    mix_from_json,
    mix_to_json,
    parse_line,
    same_level,
    without_hints,
)
from avspeech.noise.recordings import Recordings
from avspeech.noise.room import reverberate

FORMAT, VERSION = "avspeech noise plan", 1


@dataclass(frozen=True)
class NoisePlan:
    """A plan in memory, from ``avspeech.noise.making.make_plan`` or from a file."""

    seed: int
    rule: str
    level: str
    manifest_sha256: str
    noises: Mapping[str, Mapping[str, Any]]
    """Properties of each noise: kind, voices, number of files, hash of their names, and ``root``, their folder."""
    conditions: tuple[tuple[str, float | None], ...]
    shares_test_speakers: tuple[str, ...]
    """Noises in which speakers of the test set are heard, or may be."""
    speech: Mapping[str, Speech] = field(repr=False)
    """Facts of the speech by utterance id, in the order of the manifest."""
    mixes: Mapping[tuple[str, str, float | None], Mix] = field(repr=False)
    failures: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """Utterances left out when the plan was made, and why; not in the file."""

    @cached_property
    def sha256(self) -> str:
        """The hash in the header."""
        digest = hashlib.sha256()
        noises = {name: without_hints(facts) for name, facts in self.noises.items()}
        for record in ({**self._header(), "noises": noises}, *self._records()):
            digest.update(canonical(record))
        return digest.hexdigest()

    def lookup(self, utterance_id: str, noise: str, snr_db: float | None) -> Mix:
        """Return the mix of an utterance and a condition. PlanError: the plan lacks it."""
        found = self.mixes.get((utterance_id, noise, same_level(snr_db)))
        if found is None and (noise, same_level(snr_db)) not in self.conditions:
            known = ", ".join(label(*one) for one in self.conditions)
            raise PlanError(f"the noise plan has no condition {label(noise, snr_db)}; it has {known}")
        if found is None:
            raise PlanError(f"the noise plan has no utterance {utterance_id!r}; make a plan for this manifest")
        return found

    def condition_sha256(self, noise: str, snr_db: float | None) -> str:
        """Return the hash over one condition's mixes. PlanError: the plan lacks the condition."""
        digest = hashlib.sha256()
        for utterance_id in self.speech:
            digest.update(canonical(mix_to_json(self.lookup(utterance_id, noise, snr_db))))
        return digest.hexdigest()

    def roots(self) -> dict[str, Path]:
        """Return each noise's folder at the time of planning, by noise and ``<noise>.impulse_responses``."""
        found = {name: facts["root"] for name, facts in self.noises.items() if "root" in facts}
        for name, facts in self.noises.items():
            if "impulse_responses" in facts:
                found[f"{name}.impulse_responses"] = facts["impulse_responses"]["root"]
        return {name: Path(root) for name, root in found.items()}

    def write(self, path: str | Path) -> None:
        """Write the plan, whole or not at all."""
        head = {"format": FORMAT, "version": VERSION, "sha256": self.sha256}
        write_lines(path, (head | self._header(), *self._records()))

    @classmethod
    def read(cls, path: str | Path) -> "NoisePlan":
        """Read a plan and check its hash. PlanError: unreadable, another format or version, or altered."""
        path = Path(path)
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise PlanError(f"{path}: cannot be read as a noise plan: {error}") from error
        header = parse_line(path, 1, lines[0])
        if header.get("format") != FORMAT or header.get("version") != VERSION:
            found = f"format {header.get('format')!r}, version {header.get('version')!r}"
            raise PlanError(f"{path}: has {found}, wanted {FORMAT!r}, version {VERSION}")
        speech: dict[str, Speech] = {}
        mixes: dict[tuple[str, str, float | None], Mix] = {}
        for number, line in enumerate(lines[1:], start=2):
            if not line:
                continue
            record = parse_line(path, number, line)
            try:
                if "noise" in record:
                    mix = mix_from_json(record)
                    mixes[mix.id, mix.noise, same_level(mix.snr_db)] = mix
                else:
                    speech[record["id"]] = Speech(**record)
            except (TypeError, KeyError, ValueError) as error:
                raise PlanError(f"{path}, line {number}: is neither speech nor a mix: {error}") from error
        try:
            names = ("seed", "rule", "level", "manifest_sha256", "noises")
            plan = cls(
                **{name: header[name] for name in names},
                conditions=tuple((name, snr_db) for name, snr_db in header["conditions"]),
                shares_test_speakers=tuple(header["shares_test_speakers"]),
                speech=speech,
                mixes=mixes,
            )
        except (TypeError, KeyError, ValueError) as error:
            raise PlanError(f"{path}, line 1: the header lacks {error}; wanted what {__name__} describes") from error
        if plan.sha256 != header.get("sha256") or header.get("num_utterances") != len(speech):
            raise PlanError(f"{path}: its lines have the sha256 {plan.sha256}, its header says {header.get('sha256')}; "
                            "the file was altered, get it anew")  # fmt: skip
        for utterance_id, noise, snr_db in mixes:  # the hash does not cover them, and they could be mixed from
            if utterance_id not in speech or (noise, snr_db) not in plan.conditions:
                raise PlanError(
                    f"{path}: has a mix of {utterance_id!r} with {label(noise, snr_db)}, which its header or its lines "
                    "of speech do not name; the file was altered, get it anew"
                )
        return plan

    def _header(self) -> dict[str, Any]:
        names = ("seed", "rule", "level", "manifest_sha256", "noises", "conditions", "shares_test_speakers")
        return {name: getattr(self, name) for name in names} | {"num_utterances": len(self.speech)}

    def _records(self) -> Iterator[dict[str, Any]]:
        for utterance_id, speech in self.speech.items():
            yield vars(speech)
            for noise, snr_db in self.conditions:
                if mix := self.mixes.get((utterance_id, noise, snr_db)):
                    yield mix_to_json(mix)


class PlanMixer:
    """Mixes from a plan, the same bytes in every process.

    ``roots`` holds each noise's folder by noise, and room folders by ``<noise>.impulse_responses``; ``cache_bytes`` is
    the memory for decoded noise.
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
        mix = self.plan.lookup(utterance_id, noise, snr_db)
        steps_S = self._checked_speech(audio_S, utterance_id)
        if mix.reverb is not None:
            steps_S = reverberate(steps_S, self._response(noise, mix.reverb), mix.reverb.gain)
        if mix.pieces:
            pieces = [(self._samples(noise, piece, len(steps_S)), piece.offset, piece.gain) for piece in mix.pieces]
            rule, voices = self.plan.rule, "num_voices" in self.plan.noises[noise]
            noise_S = lay_over(rule, pieces, len(steps_S), voices)
            heard_S = finish(rule, add_noise(rule, to_audio(steps_S), noise_S, mix.scale), in_steps=True)
        else:
            heard_S = to_audio(steps_S)
        self._check(mix, heard_S)
        return heard_S

    def _checked_speech(self, audio_S: np.ndarray, utterance_id: str) -> np.ndarray:
        known = self.plan.speech[utterance_id]
        steps_S = to_steps(audio_S)
        found, samples = steps_sha256(steps_S), len(steps_S)
        if (samples, found) != (known.num_samples, known.speech_sha256):
            raise PlanError(
                f"the speech of {utterance_id!r} has {samples} samples of sha256 {found[:12]}, the noise plan was made "
                f"for {known.num_samples} of {known.speech_sha256[:12]}: it was altered, or another FFmpeg decoded it"
            )
        return steps_S

    def _samples(self, noise: str, piece: Piece, num_samples: int) -> np.ndarray:
        if piece.file is None:
            assert piece.generator is not None and piece.key is not None
            return exact_noise(piece.generator, piece.key, num_samples)
        return self._checked_file(noise, f"noise {noise!r}", piece.file, piece)

    def _response(self, noise: str, reverb: Reverb) -> np.ndarray:
        return self._checked_file(f"{noise}.impulse_responses", f"impulse responses of {noise!r}", reverb.file, reverb)

    def _checked_file(self, root: str, what: str, file: str, planned: Piece | Reverb) -> np.ndarray:
        if root not in self.roots:
            raise PlanError(f"the noise plan needs {file} of {what}, and no folder was given for it; name its root")
        path = self.roots[root] / file
        if not path.is_file():
            raise PlanError(f"{path} of {what} is missing; the noise plan needs it, get it or name another root")
        try:
            facts = self._files.hashes(path)
            if facts.sha256 != planned.sha256:
                raise PlanError(
                    f"{path} of {what} was altered: it has sha256 {facts.sha256}, the noise plan {planned.sha256}"
                )
            if facts.samples_sha256 != planned.samples_sha256:
                raise PlanError(
                    f"{path} of {what} is the file of the noise plan but decodes to other samples here; "
                    "another FFmpeg (PyAV) decodes or resamples it differently: convert it to 16 kHz wav for the plan"
                )
            return self._files.steps(path)
        except MediaError as error:
            raise PlanError(f"{error} ({what}, needed by the noise plan)") from error

    def _check(self, mix: Mix, heard_S: np.ndarray) -> None:
        if (found := mix_sha256(self.plan.rule, heard_S)) != mix.sha256:
            of = ", ".join(piece.file or f"{piece.generator} noise" for piece in mix.pieces) or "no noise"
            raise PlanError(
                f"{mix.id!r} with {mix.noise} at {mix.snr_db} dB ({of}) mixes to sha256 {found[:12]}, the noise plan "
                f"says {mix.sha256[:12]}: its speech and noise are as planned, so another program made the plan"
            )
