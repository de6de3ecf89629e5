"""Check properties that an audio-visual recogniser should have, on a model and a test set.

    python -m avspeech.evaluation.invariants --model MODEL --manifest MANIFEST --out_file invariants.json

Reads   a model, a manifest with text (and mouth clips for video), and decoding and scoring of a conditions YAML.
Writes  a table to the terminal and, with --out_file, a JSON file. Exit status 1 if a check fails.

A word error rate is worse only if the paired 95 % interval of the difference lies above 0. The noise is white.
"""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jsonargparse import auto_cli, set_parsing_settings

from avspeech.config_file import refuse_moved_flags
from avspeech.decoding.config import inputs_for
from avspeech.evaluation.conditions import CLEAN, MODALITIES, Condition
from avspeech.evaluation.config import EvaluationConfig, read_conditions
from avspeech.evaluation.error_rate import ErrorCounts, count_normalized, total
from avspeech.evaluation.grid import Unreadable
from avspeech.evaluation.loading import ConditionLoader, Mixer, check_streams
from avspeech.evaluation.paired_tests import Difference, paired_difference
from avspeech.evaluation.results import UNKNOWN_LANGUAGE
from avspeech.evaluation.systems import Decode, batch_decoder, decoding_facts, settled, transcribe_all
from avspeech.files import make_place, write_json
from avspeech.hub.names import open_model
from avspeech.inputs import AVBatch, Modality
from avspeech.manifest import Utterance, read_manifest
from avspeech.media.errors import MediaError
from avspeech.models.files import check_device
from avspeech.noise.making import make_plan
from avspeech.noise.plan import PlanMixer
from avspeech.noise.spec import NoiseSpec
from avspeech.text.normalize import text_language

log = logging.getLogger(__name__)

SILENCE, QUIET_ROOM, WHITE = "silence", "quiet_room", "white"
QUIET_ROOM_RMS = 1e-3  # of white noise at -60 dB of full scale


@dataclass(frozen=True)
class Bounds:
    """Limits of the checks."""

    offset_cost: float = 0.02
    """Rise of the word error rate, as a fraction, when picture and sound are 40 ms apart."""
    silent_words: float = 0.05
    """Words out of silence, as a share of the words of the test set."""
    changed_texts: float = 0.0
    """Share of the texts that may change with the batch."""


class Check(NamedTuple):
    """One property, its figure and its bound."""

    name: str
    passed: bool
    figure: str
    bound: str
    values: dict[str, Any]


@dataclass(frozen=True)
class NoisyOrSilent:
    """Adds the noise of a plan, or replaces the speech by silence or a quiet room."""

    mixer: Mixer | None

    def mix(self, audio_S: np.ndarray, utterance_id: str, noise: str, snr_db: float | None) -> np.ndarray:
        if noise == SILENCE:
            return np.zeros_like(audio_S)
        if noise == QUIET_ROOM:
            rng = np.random.default_rng(len(audio_S))
            return rng.standard_normal(len(audio_S), dtype=np.float32) * np.float32(QUIET_ROOM_RMS)
        assert self.mixer is not None
        return self.mixer.mix(audio_S, utterance_id, noise, snr_db)


@dataclass
class Subject:
    """A model and a test set."""

    decode: Decode
    loader: ConditionLoader
    utterances: Sequence[Utterance]
    """Readable ones only."""
    config: EvaluationConfig
    snr_db: float = 0.0
    """Of white noise."""
    device: str = "cpu"
    task: str | None = None
    """Of a Whisper."""
    _texts: dict[tuple, list[str]] = field(default_factory=dict)

    def texts(
        self, condition: Condition, batches: Sequence[Sequence[int]] | None = None, drop_video: bool = False
    ) -> list[str]:
        """Return the texts in order, "" if unreadable; None plans the batches (indices) by length.

        ``drop_video``: the model gets the video and is told to ignore it (``keep_B2``).
        """

        def without_video(batch: AVBatch, keep_B2: torch.Tensor) -> list[str]:
            return self.decode(batch, keep_B2 & torch.tensor([True, False], device=keep_B2.device))

        key = (condition, None if batches is None else tuple(map(tuple, batches)), drop_video)
        if key not in self._texts:
            ask = without_video if drop_video else self.decode
            found = transcribe_all(ask, self.device, self.utterances, condition, self.loader, batches=batches)
            self._texts[key] = ["" if isinstance(text, Unreadable) else text for text in found]
        return self._texts[key]

    @property
    def spoken(self) -> list[str]:
        return [one.text or "" for one in self.utterances]

    def counts(self, references: Sequence[str], texts: Sequence[str]) -> list[ErrorCounts]:
        rule = self.config.scoring.normalization
        languages = [text_language(one.language or UNKNOWN_LANGUAGE, self.task) for one in self.utterances]
        return [count_normalized(*trio, rule) for trio in zip(references, texts, languages, strict=True)]

    def num_words(self, texts: Sequence[str]) -> int:
        return total(self.counts(texts, [""] * len(texts))).num_words

    def difference(self, texts_a: Sequence[str], texts_b: Sequence[str]) -> Difference:
        a, b = (self.counts(self.spoken, texts) for texts in (texts_a, texts_b))
        return paired_difference(a, b, self.config.seed, [one.speaker for one in self.utterances])

    @property
    def places(self) -> dict[str, tuple[str, float | None]]:
        return {"clean": (CLEAN, None), f"white {self.snr_db:g} dB": (WHITE, self.snr_db)}


def readable(utterances: Sequence[Utterance], modalities: Sequence[str], loader: ConditionLoader) -> list[Utterance]:
    """Return the readable utterances (two empty texts would pass most checks); ``ValueError`` if there are none."""
    kept, reasons = [], []
    for utterance in utterances:
        try:
            for modality in modalities:
                loader.load(utterance, Condition(modality))
            kept.append(utterance)
        except MediaError as error:
            log.warning("%s is left out: %s", utterance.id, error)
            reasons.append(error)
    if not kept:
        raise ValueError(f"none of {len(utterances)} utterances can be read; the first reason: {reasons[0]}")
    return kept


def check_all(subject: Subject, bounds: Bounds = Bounds()) -> list[Check]:
    checks = [*_silence(subject, bounds), *_batching(subject, bounds)]
    if "audio+video" in subject.config.modalities:
        return [*_missing_video(subject), *checks, _offset(subject, bounds)]
    return checks


def _missing_video(subject: Subject) -> list[Check]:
    """Without its video, or with a grey one, the model must be no worse than on audio alone."""
    checks = []
    for place, noise in subject.places.items():
        heard = subject.texts(Condition("audio", *noise))
        dropped = subject.texts(Condition("audio+video", *noise), drop_video=True)
        blank = subject.texts(Condition("audio+video", *noise, "blank"))
        for way, texts in (("dropped", dropped), ("blank", blank)):
            wer, wer_heard = (total(subject.counts(subject.spoken, each)).wer for each in (texts, heard))
            difference = subject.difference(texts, heard)
            figure = f"{_percent(wer)} against {_percent(wer_heard)} ({_points(difference)})"
            values = {"wer": wer, "wer_audio": wer_heard, **difference._asdict()}
            name, bound = f"video {way}, {place}", "not worse than audio only beyond the interval"
            checks.append(Check(name, bool(difference.low <= 0), figure, bound, values))
    return checks


def _silence(subject: Subject, bounds: Bounds) -> list[Check]:
    spoken = subject.num_words(subject.spoken)
    wanted = {
        "silence": Condition("audio", SILENCE),
        "a quiet room": Condition("audio", QUIET_ROOM),
        "silence and a blank video": Condition("audio+video", SILENCE, None, "blank"),
    }
    checks = []
    for name, condition in wanted.items():
        if condition.modality in subject.config.modalities:
            words = subject.num_words(subject.texts(condition))
            share = words / max(1, spoken)
            figure = f"{words} words where {spoken} are spoken ({_percent(share)})"
            bound = f"at most {_percent(bounds.silent_words)}"
            checks.append(Check(name, share <= bounds.silent_words, figure, bound, {"words": words, "share": share}))
    return checks


def _batching(subject: Subject, bounds: Bounds) -> list[Check]:
    """An utterance must give the same text in any order of the batch, and alone or beside a longer one."""
    lengths = [one.num_frames or one.num_samples or 0 for one in subject.utterances]
    places = list(range(len(lengths)))
    forwards = [places[start : start + 8] for start in range(0, len(places), 8)]
    backwards, by_length = [batch[::-1] for batch in forwards], sorted(places, key=lambda place: lengths[place])
    half = len(by_length) // 2
    pairs = [list(pair) for pair in zip(by_length[:half], by_length[::-1][:half], strict=True)]
    pairs += [[place] for place in by_length[half : len(by_length) - half]]
    return [
        _compare_batches("order in the batch", subject, forwards, backwards, bounds),
        _compare_batches("padding", subject, [[place] for place in by_length], pairs, bounds),
    ]


def _compare_batches(
    name: str, subject: Subject, batches: list[list[int]], others: list[list[int]], bounds: Bounds
) -> Check:
    changed: dict[str, list[str]] = {}
    for modality in subject.config.modalities:
        texts, other_texts = (subject.texts(Condition(modality), each) for each in (batches, others))
        trios = zip(subject.utterances, texts, other_texts, strict=True)
        changed[modality] = [one.id for one, text, other in trios if text != other]
    worst, size = max(map(len, changed.values())), len(subject.utterances)
    figure = ", ".join(f"{modality} {len(ids)} of {size} texts changed" for modality, ids in changed.items())
    bound = f"at most {_percent(bounds.changed_texts)}"
    return Check(name, worst <= bounds.changed_texts * size, figure, bound, {"changed": changed})


def _offset(subject: Subject, bounds: Bounds) -> Check:
    """Picture and sound may be one frame apart, as in real recordings and players."""
    values, figures = {}, []
    for place, noise in subject.places.items():
        own = subject.texts(Condition("audio+video", *noise))
        for offset in ("offset-40", "offset+40"):
            difference = subject.difference(subject.texts(Condition("audio+video", *noise, offset)), own)
            values[f"{offset}, {place}"] = difference._asdict()
            figures.append(f"{offset.removeprefix('offset')} ms {place} {_points(difference)}")
    worst = max(one["diff"] for one in values.values())
    name, bound = "40 ms between picture and sound", f"at most {100 * bounds.offset_cost:+.1f} points"
    return Check(name, bool(worst <= bounds.offset_cost), "; ".join(figures), bound, values)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _points(difference: Difference) -> str:
    return f"{100 * difference.diff:+.1f} points, {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"


def as_table(checks: Sequence[Check]) -> str:
    lines = [f"{'pass' if one.passed else 'FAIL'}  {one.name}: {one.figure}; bound: {one.bound}" for one in checks]
    failed = sum(not check.passed for check in checks)
    return "\n".join([*lines, f"{len(checks) - failed} of {len(checks)} hold"])


def main(
    model: str,
    manifest: Path,
    conditions: Path | None = None,
    out_file: Path | None = None,
    device: str = "cpu",
    modalities: list[Modality] | None = None,
    decoding: dict[str, Any] | None = None,
    snr_db: float = 0.0,
    max_utterances: int | None = None,
    bounds: Bounds = Bounds(),
) -> None:
    """Check the invariants of a model.

    Args:
        model: a model file, ``demo``, a name of ``avspeech hub``, or owner/name on the Hugging Face hub.
        manifest: JSON lines with text, and with mouth clips for a model that uses video.
        conditions: YAML of decoding and scoring; by default as ``avspeech transcribe``, rule ``basic``.
        out_file: JSON with every figure.
        device: device that the model runs on.
        modalities: those to check; by default all that the model has.
        decoding: replaces options of the YAML's ``decoding``, such as --decoding.method ctc.
        snr_db: SNR of white noise in dB.
        max_utterances: take the first utterances of the manifest; by default all.
        bounds: limits of the checks.
    """
    try:
        if max_utterances is not None and max_utterances < 1:
            raise ValueError(f"max_utterances={max_utterances} must be at least 1; leave it out for all")
        config = EvaluationConfig() if conditions is None else read_conditions(conditions)
        check_device(device)
        network = open_model(model, device)
        modalities = modalities or [one for one in MODALITIES if one in network.inputs.modalities]
        config = config.with_options(modalities, decoding)
        options = settled(config, network)
        utterances = read_manifest(manifest, require=("text",))[:max_utterances]
        check_streams(utterances, [Condition(modality) for modality in config.modalities], manifest)
        if out_file is not None:
            make_place(out_file, "--out_file")
        plan = make_plan(utterances, {WHITE: NoiseSpec("white")}, (snr_db,), config.seed)
        loader = ConditionLoader(NoisyOrSilent(PlanMixer(plan, {})), config.seed, inputs_for(network, options))
        utterances = readable(utterances, config.modalities, loader)
    except ValueError as error:
        sys.exit(str(error))
    decode, task = batch_decoder(network, options), decoding_facts(options, network).get("task")
    checks = check_all(Subject(decode, loader, utterances, config, snr_db, device, task), bounds)
    print(as_table(checks))
    if out_file is not None:
        listed = [check._asdict() for check in checks]
        write_json(out_file, {"model": model, "manifest": str(manifest), "checks": listed}, indent=2)
    sys.exit(0 if all(check.passed for check in checks) else 1)


if __name__ == "__main__":
    refuse_moved_flags({"--method": "--decoding.method"})
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    auto_cli(main, as_positional=False)
