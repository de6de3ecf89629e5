"""Transcribe every condition of a grid, score the transcripts, and keep them so that a run can continue.

Finished conditions are kept in ``<out_dir>/decoded/`` with a fingerprint of what decided them. Delete that folder after
a change of code, or of clips behind the same manifest.
"""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

from tqdm import tqdm

from avspeech.evaluation.bleu import BleuCounts, bleu_signature, count_ngrams
from avspeech.evaluation.conditions import BLANK, OWN, Condition
from avspeech.evaluation.config import EvaluationConfig, Scoring
from avspeech.evaluation.error_rate import ErrorCounts, count_normalized
from avspeech.evaluation.loading import videos_of
from avspeech.evaluation.results import UNKNOWN_LANGUAGE, ConditionResult, Failure, Results, ScoredHypothesis, summarise
from avspeech.files import read_lines, write_lines
from avspeech.manifest import Utterance
from avspeech.text.normalize import text_language

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Unreadable:
    """Stands for a transcript if the utterance's files are broken."""

    why: str


class GridError(ValueError):
    """The grid cannot be scored."""


Transcribe = Callable[[Sequence[Utterance], Condition], Sequence[str | Unreadable]]


def evaluate_grid(
    utterances: Sequence[Utterance],
    config: EvaluationConfig,
    transcribe: Transcribe,
    out_dir: str | Path,
    model: str,
    identity: Mapping[str, Any],
    decoding: Mapping[str, Any] = {},
    noise_of: Callable[[str, float | None], str] | None = None,
) -> Results:
    """Transcribe and score every condition of ``config.grid()``.

    Args:
        utterances: with text; a language of None becomes ``und``.
        config: the grid and its scoring.
        transcribe: returns a transcript or ``Unreadable`` for each utterance, in order.
        out_dir: folder of the finished conditions.
        model: name of the model in the results.
        identity: facts for ``runs`` that decide the transcripts: hashes of model, manifest and each of ``noises``.
        decoding: options that decide the transcripts (``systems.decoding_facts``).
        noise_of: returns a hash of what is mixed in for a noise and SNR; None takes it from ``identity``.

    ``GridError``: no utterance of a condition could be read, or kept transcripts are damaged.
    ``ValueError``: an utterance has no text, or there is no other one whose clip could be shown.
    """
    for utterance in utterances:
        if utterance.text is None:
            raise ValueError(f"utterance {utterance.id!r} has no text to score against; add it to the manifest")
    videos_of(utterances, config.grid(), config.seed)  # raises before anything is decoded
    transcripts: dict[Condition, Sequence[str | Unreadable]] = {}
    seconds: dict[str, float] = {}
    wanted = list(dict.fromkeys(condition.decoded_as for condition in config.grid()))
    noise_hash = None if noise_of is None else cache(noise_of)  # one noise stands beside many pictures
    for condition in tqdm(wanted, desc=model, unit="condition"):
        heard = identity.get("noises", {}).get(condition.noise)
        if noise_hash is not None and not condition.is_clean:
            heard = noise_hash(condition.noise, condition.snr_db)
        fingerprint = _fingerprint(condition, heard, config.seed, decoding, identity)
        path = Path(out_dir) / "decoded" / f"{condition.file_name}.jsonl"
        transcripts[condition], seconds[condition.label] = _complete(
            path, fingerprint, utterances, condition, transcribe
        )
    run = {"model": model, **identity, "seed": config.seed, **decoding}
    results = score_transcripts(utterances, transcripts, config.grid(), run, config.scoring)
    return replace(results, runs=[{**results.runs[0], "decoding_seconds": seconds}])


def _fingerprint(
    condition: Condition, heard: Any, seed: int, decoding: Mapping[str, Any], identity: Mapping[str, Any]
) -> str:
    hashes = {key: value for key, value in identity.items() if key.endswith("sha256") and key != "noise_plan_sha256"}
    seeded = not condition.is_clean or condition.video_stream not in (OWN, BLANK)
    facts = {**hashes, "condition": condition.label, "noise": heard, "seed": seed if seeded else None, **decoding}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _complete(
    path: Path, fingerprint: str, utterances: Sequence[Utterance], condition: Condition, transcribe: Transcribe
) -> tuple[list[str | Unreadable], float]:
    """Transcribe what the file lacks, and again what was unreadable: its files may be mended."""
    kept, seconds = _read_decoded(path, fingerprint)
    missing = [one for one in utterances if isinstance(kept.get(one.id, Unreadable("")), Unreadable)]
    if missing:
        start = monotonic()
        texts = transcribe(missing, condition)
        if len(texts) != len(missing):
            raise ValueError(f"{len(texts)} transcripts came for {len(missing)} utterances, {condition.label}")
        seconds = round(seconds + monotonic() - start, 2)
        kept.update((one.id, text) for one, text in zip(missing, texts, strict=True))
        lines = [
            {"id": name, "unreadable": text.why} if isinstance(text, Unreadable) else {"id": name, "text": text}
            for name, text in kept.items()
        ]
        write_lines(path, [{"fingerprint": fingerprint, "seconds": seconds}, *lines])
    return [kept[one.id] for one in utterances], seconds


def _read_decoded(path: Path, fingerprint: str) -> tuple[dict[str, str | Unreadable], float]:
    """Return transcripts by id and the seconds they took; those with another fingerprint count as absent."""
    try:
        header, *lines = read_lines(path) or [{}]
        if header.get("fingerprint") != fingerprint:
            return {}, 0.0
        texts = {line["id"]: line["text"] if "text" in line else Unreadable(line["unreadable"]) for line in lines}
        return texts, header["seconds"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise GridError(f"{path} is damaged ({error}); delete it to decode anew") from error


def score_transcripts(
    utterances: Sequence[Utterance],
    transcripts: Mapping[Condition, Sequence[str | Unreadable]],
    rows: Sequence[Condition],
    run: Mapping[str, Any],
    config: Scoring = Scoring(),
) -> Results:
    """Score transcripts, in the order of the utterances, against their texts; a language of None becomes ``und``.

    Each of ``rows`` uses the transcripts of its ``decoded_as``. ``run`` has facts for ``runs``: ``model``, ``seed``...
    ``GridError``: no utterance of a condition could be read.
    """
    model, task, seed = run["model"], run.get("task"), run["seed"]
    others = videos_of(utterances, rows, seed)
    scored: dict[Condition, list[tuple[ScoredHypothesis, ErrorCounts]]] = {}
    broken: Counter[tuple[str, str]] = Counter()
    for condition, texts in transcripts.items():
        scored[condition] = []
        shown = others.get(condition.video_stream, {})
        for one, text in zip(utterances, texts, strict=True):
            if isinstance(text, Unreadable):
                broken[one.id, text.why] += 1
                continue
            language, reference = one.language or UNKNOWN_LANGUAGE, one.text or ""
            counts = count_normalized(reference, text, text_language(language, task), config.normalization)
            line = ScoredHypothesis(
                id=one.id,
                model=model,
                **vars(condition),
                language=language,
                reference=reference,
                hypothesis=text,
                errors=counts.word_errors,
                n_words=counts.num_words,
                video_of=shown[one.id].id if one.id in shown else None,
                speaker=one.speaker,
            )
            scored[condition].append((line, counts))
        if not scored[condition]:
            why = next(iter(broken))[1] if broken else "the manifest is empty"
            raise GridError(f"no utterance could be scored in {condition.label}; the first reason: {why}")
    scoring: dict[str, Any] = {"normalization": config.normalization, "metric": config.metric}
    ngrams: dict[Condition, list[BleuCounts]] = {}
    if config.metric == "bleu":
        scoring["bleu_signature"] = bleu_signature()
        for condition, lines in scored.items():
            ngrams[condition] = [count_ngrams(line.reference, line.hypothesis) for line, _ in lines]
    results: list[ConditionResult] = []
    for condition in rows:
        lines, counts = zip(*scored[condition.decoded_as], strict=True)
        results += summarise(condition, lines, counts, seed, ngrams.get(condition.decoded_as))
    hypotheses = [line for lines in scored.values() for line, _ in lines]
    failures = [Failure(name, why, model, times) for (name, why), times in broken.items()]
    if failures:
        log.warning("%d utterances could not be read and are not scored; see failures.jsonl", len(failures))
    facts = {"noise_plan_sha256": None, **run, **scoring, "n_utterances_given": len(utterances)}
    return Results(results, [facts], hypotheses, failures)
