"""Properties that an audio-visual recogniser should have, checked on a model and a test set: pass, fail and the figure.

    python -m avspeech.evaluation.invariants --model MODEL --manifest MANIFEST --out_file invariants.json

Reads   a model file, a manifest with text, and with mouth clips for a model that sees; of a conditions YAML
        (--conditions) only how to decode and to score.
Writes  a table to the terminal and, with --out_file, the same as JSON. Exit status 1 where a check fails.

A word error rate counts as worse only if the paired 95 % interval of the difference says so. The noise is white, which
needs no recording.
"""

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli, set_parsing_settings

from avspeech.evaluation.conditions import CLEAN, MODALITIES, Condition, EvaluationConfig
from avspeech.evaluation.conditions_file import read_conditions
from avspeech.evaluation.error_rate import ErrorCounts, count_normalized, total
from avspeech.evaluation.grid import Unreadable
from avspeech.evaluation.loading import ConditionLoader, check_streams
from avspeech.evaluation.paired_tests import Difference, paired_difference
from avspeech.evaluation.results import UNKNOWN_LANGUAGE
from avspeech.evaluation.systems import Transcriber, make_loader, make_transcriber, transcribe_all
from avspeech.files import make_place, write_text
from avspeech.inputs import AVBatch
from avspeech.manifest import Utterance, read_manifest
from avspeech.media.errors import MediaError
from avspeech.models.files import check_device, load_model
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper
from avspeech.noise.making import make_plan
from avspeech.noise.plan import PlanMixer
from avspeech.noise.spec import NoiseSpec
from avspeech.text.normalize import check_rule, normalize_for_scoring, text_language

log = logging.getLogger(__name__)

SILENCE, QUIET_ROOM, WHITE = "silence", "quiet_room", "white"
QUIET_ROOM_RMS = 1e-3
"""Of white noise at -60 dB of full scale."""
GRID_KEYS = ("modalities", "noises", "snrs_db", "include_clean", "video_streams", "video_streams_at")


@dataclass(frozen=True)
class Bounds:
    """What the checks allow."""

    offset_cost: float = 0.02
    """Rise of the word error rate, as a fraction, when picture and sound are 40 ms apart."""
    silent_words: float = 0.05
    """Words out of silence, as a share of the words of the test set."""
    changed_texts: float = 0.0
    """Share of the texts that may change with an utterance's neighbours in the batch."""


@dataclass(frozen=True)
class Check:
    """One property: what was found, and whether that is within the bound."""

    name: str
    passed: bool
    figure: str
    bound: str
    values: dict[str, Any] = field(default_factory=dict)


class NoisyOrSilent:
    """Adds the noise of a plan, or takes the speech away.

    Args:
        mixer: of the plan.
    """

    def __init__(self, mixer: PlanMixer) -> None:
        self._mixer = mixer

    def mix(self, audio_S: np.ndarray, utterance_id: str, noise: str, snr_db: float | None) -> np.ndarray:
        """Return silence, a quiet room, or the speech in the plan's noise."""
        if noise == SILENCE:
            return np.zeros_like(audio_S)
        if noise == QUIET_ROOM:
            rng = np.random.default_rng(len(audio_S))
            return rng.standard_normal(len(audio_S), dtype=np.float32) * np.float32(QUIET_ROOM_RMS)
        return self._mixer.mix(audio_S, utterance_id, noise, snr_db)


class Subject:
    """A model and a test set, to be asked under conditions and in batches of any make.

    Args:
        transcribe: the model, see ``make_transcriber``.
        loader: of the samples, with a mixer for noise and silence.
        utterances: the test set without what cannot be read (``readable``).
        config: of scoring.
        modalities: that the model has.
        snr_db: of white noise.
        device: of the model.
        task: of a Whisper.
    """

    def __init__(
        self,
        transcribe: Transcriber,
        loader: ConditionLoader,
        utterances: Sequence[Utterance],
        config: EvaluationConfig,
        modalities: Sequence[str],
        snr_db: float = 0.0,
        device: str = "cpu",
        task: str | None = None,
    ) -> None:
        self.transcribe, self.loader, self.utterances, self.config = transcribe, loader, list(utterances), config
        self.modalities, self.snr_db, self.device, self.task = modalities, snr_db, device, task
        self._texts: dict[tuple, list[str]] = {}

    def texts(
        self, condition: Condition, batches: Sequence[Sequence[int]] | None = None, drop_video: bool = False
    ) -> list[str]:
        """Return the texts in order; an utterance that cannot be read gives none.

        Args:
            condition: what the model gets.
            batches: places of the utterances that go together; None plans them by length.
            drop_video: the model is given the video and told to leave it (``keep_B2``).
        """

        def without_video(batch: AVBatch, keep_B2: torch.Tensor) -> list[str]:
            return self.transcribe(batch, keep_B2 & torch.tensor([True, False], device=keep_B2.device))

        key = (condition, None if batches is None else tuple(map(tuple, batches)), drop_video)
        if key not in self._texts:
            ask = without_video if drop_video else self.transcribe
            found = transcribe_all(ask, self.device, self.utterances, condition, self.loader, batches=batches)
            self._texts[key] = ["" if isinstance(text, Unreadable) else text for text in found]
        return self._texts[key]

    def counts(self, texts: Sequence[str]) -> list[ErrorCounts]:
        """Return the errors of each utterance."""
        return [
            count_normalized(one.text or "", text, self._language(one), self.config.normalization)
            for one, text in zip(self.utterances, texts, strict=True)
        ]

    def num_words(self, texts: Sequence[str]) -> int:
        """Return the words of all texts after normalisation."""
        rule = self.config.normalization
        pairs = zip(self.utterances, texts, strict=True)
        return sum(len(normalize_for_scoring(text, self._language(one), rule).split()) for one, text in pairs)

    def difference(self, texts_a: Sequence[str], texts_b: Sequence[str]) -> Difference:
        """Return the word error rate of a minus that of b."""
        speakers = [one.speaker for one in self.utterances]
        return paired_difference(self.counts(texts_a), self.counts(texts_b), self.config.seed, speakers)

    def _language(self, utterance: Utterance) -> str:
        return text_language(utterance.language or UNKNOWN_LANGUAGE, self.task)


def readable(utterances: Sequence[Utterance], modalities: Sequence[str], loader: ConditionLoader) -> list[Utterance]:
    """Return the utterances whose files can be read; the log names the others, and why.

    Nothing heard, twice, would hold nearly every invariant.

    Raises:
        ValueError: there are none.
    """
    kept, reasons = [], []
    for utterance in utterances:
        try:
            for modality in modalities:
                loader.load(utterance, Condition(modality))
            kept.append(utterance)
        except MediaError as error:
            log.warning("%s is left out: %s", utterance.id, error)
            reasons.append(str(error))
    if not kept:
        raise ValueError(f"none of {len(utterances)} utterances can be read; the first reason: {reasons[0]}")
    return kept


def check_all(subject: Subject, bounds: Bounds = Bounds()) -> list[Check]:
    """Run every check that the model's modalities allow."""
    checks = [*_silence(subject, bounds), _order(subject, bounds), _padding(subject, bounds)]
    if "audio+video" in subject.modalities:
        return [*_missing_video(subject), *checks, _offset(subject, bounds)]
    return checks


def _missing_video(subject: Subject) -> list[Check]:
    """Taken away or grey, the video must not leave the model worse off than one that only hears."""
    checks = []
    for place, noise in (("clean", (CLEAN, None)), (f"white {subject.snr_db:g} dB", (WHITE, subject.snr_db))):
        heard = subject.texts(Condition("audio", *noise))
        ways = {
            "dropped": subject.texts(Condition("audio+video", *noise), drop_video=True),
            "blank": subject.texts(Condition("audio+video", *noise, "blank")),
        }
        for way, texts in ways.items():
            wer, wer_heard = (total(subject.counts(each)).wer for each in (texts, heard))
            difference = subject.difference(texts, heard)
            figure = f"{_percent(wer)} against {_percent(wer_heard)} ({_points(difference)})"
            values = {"wer": wer, "wer_audio": wer_heard, **difference._asdict()}
            name, bound = f"video {way}, {place}", "not worse than audio only beyond the interval"
            checks.append(Check(name, bool(difference.low <= 0), figure, bound, values))
    return checks


def _silence(subject: Subject, bounds: Bounds) -> list[Check]:
    """Where nothing is said and nothing seen there are no words."""
    spoken = subject.num_words([one.text or "" for one in subject.utterances])
    wanted = {}
    if "audio" in subject.modalities:
        wanted["silence"] = Condition("audio", SILENCE)
        wanted["a quiet room"] = Condition("audio", QUIET_ROOM)
    if "audio+video" in subject.modalities:
        wanted["silence and a blank video"] = Condition("audio+video", SILENCE, None, "blank")
    checks = []
    for name, condition in wanted.items():
        words = subject.num_words(subject.texts(condition))
        share = words / max(1, spoken)
        figure = f"{words} words where {spoken} are spoken ({_percent(share)})"
        bound = f"at most {_percent(bounds.silent_words)}"
        checks.append(Check(name, share <= bounds.silent_words, figure, bound, {"words": words, "share": share}))
    return checks


def _order(subject: Subject, bounds: Bounds) -> Check:
    """The order of the utterances in a batch must not matter."""
    places = list(range(len(subject.utterances)))
    forwards = [places[start : start + 8] for start in range(0, len(places), 8)]
    backwards = [batch[::-1] for batch in forwards]
    return _compare_batches("order in the batch", subject, forwards, backwards, bounds)


def _padding(subject: Subject, bounds: Bounds) -> Check:
    """An utterance gives the same text alone and beside the longest one that there is a partner for."""
    lengths = [one.num_frames or one.num_samples or 0 for one in subject.utterances]
    by_length = sorted(range(len(lengths)), key=lambda place: lengths[place])
    half = len(by_length) // 2
    pairs = [[short, long] for short, long in zip(by_length[:half], by_length[::-1][:half], strict=True)]
    pairs += [[place] for place in by_length[half : len(by_length) - half]]
    alone = [[place] for place in by_length]
    return _compare_batches("padding", subject, alone, pairs, bounds)


def _compare_batches(
    name: str, subject: Subject, batches: list[list[int]], others: list[list[int]], bounds: Bounds
) -> Check:
    changed: dict[str, list[str]] = {}
    for modality in subject.modalities:
        condition = Condition(modality)
        texts, other_texts = subject.texts(condition, batches), subject.texts(condition, others)
        trios = zip(subject.utterances, texts, other_texts, strict=True)
        changed[modality] = [one.id for one, text, other in trios if text != other]
    worst = max(len(ids) for ids in changed.values())
    size = len(subject.utterances)
    figure = ", ".join(f"{modality} {len(ids)} of {size} texts changed" for modality, ids in changed.items())
    bound = f"at most {_percent(bounds.changed_texts)}"
    return Check(name, worst <= bounds.changed_texts * size, figure, bound, {"changed": changed})


def _offset(subject: Subject, bounds: Bounds) -> Check:
    """One frame between picture and sound is what recordings and players do to them."""
    values: dict[str, Any] = {}
    figures = []
    for place, noise in (("clean", (CLEAN, None)), (f"white {subject.snr_db:g} dB", (WHITE, subject.snr_db))):
        own = subject.texts(Condition("audio+video", *noise))
        for offset in ("offset-40", "offset+40"):
            difference = subject.difference(subject.texts(Condition("audio+video", *noise, offset)), own)
            values[f"{offset}, {place}"] = difference._asdict()
            figures.append(f"{offset.removeprefix('offset')} ms {place} {_points(difference)}")
    worst = max(one["diff"] for one in values.values())
    bound = f"at most {100 * bounds.offset_cost:+.1f} points"
    return Check(
        "40 ms between picture and sound", bool(worst <= bounds.offset_cost), "; ".join(figures), bound, values
    )


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _points(difference: Difference) -> str:
    return f"{100 * difference.diff:+.1f} points, {100 * difference.low:+.1f} to {100 * difference.high:+.1f}"


def as_table(checks: Sequence[Check]) -> str:
    """Return the checks as lines for the terminal."""
    lines = []
    for check in checks:
        lines.append(f"{'pass' if check.passed else 'FAIL'}  {check.name}: {check.figure}; bound: {check.bound}")
    failed = sum(not check.passed for check in checks)
    return "\n".join([*lines, f"{len(checks) - failed} of {len(checks)} hold"])


def main(
    model: Path,
    manifest: Path,
    conditions: Path | None = None,
    out_file: Path | None = None,
    device: str = "cpu",
    modalities: list[str] | None = None,
    method: str | None = None,
    snr_db: float = 0.0,
    max_utterances: int | None = None,
    bounds: Bounds = Bounds(),
) -> None:
    """Check the invariants of a model.

    Args:
        model: model file of a recogniser, a Whisper or a Flamingo.
        manifest: JSON lines with text, and with mouth clips for a model that sees.
        conditions: YAML that says how to decode and score; by default greedily, with the rule ``basic``.
        out_file: JSON with every figure.
        device: where the model runs.
        modalities: that the model has; by default all, or audio for a plain Whisper.
        method: replaces ``method`` of the YAML.
        snr_db: of white noise, where a check wants noise.
        max_utterances: the first so many; by default all.
        bounds: what the checks allow.
    """
    try:
        config = EvaluationConfig() if conditions is None else read_conditions(conditions)
        check_device(device)
        network = load_model(model, device)
        if modalities is None:
            plain = isinstance(network, Whisper) and not network.has_video
            modalities = ["audio"] if plain else list(MODALITIES)
        no_grid = EvaluationConfig(tuple(modalities))
        grid = {name: getattr(no_grid, name) for name in GRID_KEYS}
        config = replace(config, **grid, method=method or config.method)
        check_rule(config.normalization)
        if max_utterances is not None and max_utterances < 1:
            raise ValueError(f"max_utterances={max_utterances} must be at least 1; leave it out for all")
        utterances = read_manifest(manifest, require=("text",))[:max_utterances]
        check_streams(utterances, config.grid(), manifest)
        if out_file is not None:
            make_place(out_file, "--out_file")
        transcriber = make_transcriber(network, config, str(model))
        plan = make_plan(utterances, {WHITE: NoiseSpec("white")}, (snr_db,), config.seed)
        loader = make_loader(network, config, NoisyOrSilent(PlanMixer(plan, {})), utterances)
        utterances = readable(utterances, modalities, loader)
    except ValueError as error:
        sys.exit(str(error))
    task = None if isinstance(network, Recognizer) else config.task
    checks = check_all(Subject(transcriber, loader, utterances, config, modalities, snr_db, device, task), bounds)
    print(as_table(checks))
    if out_file is not None:
        document = {"model": str(model), "manifest": str(manifest), "checks": [asdict(check) for check in checks]}
        write_text(out_file, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    sys.exit(0 if all(check.passed for check in checks) else 1)


if __name__ == "__main__":
    set_parsing_settings(docstring_parse_attribute_docstrings=True)
    auto_cli(main, as_positional=False)
