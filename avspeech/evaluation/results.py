"""What an evaluation leaves behind: results, transcripts, failures; reading, writing and merging them.

``results.json`` is ``{"conditions": [...], "runs": [...]}``. A condition is one row: one model, one modality, one
noise, one SNR, one video stream, one language; with several languages each has its row and ``all`` stands for them
together. Rates are fractions. ``wer_95`` is the 95 % bootstrap interval over utterances, ``[low, high]``. ``snr_db``
is null when clean. ``video_stream`` is ``own`` unless the video was replaced (see ``stand_ins``). ``bleu``, 0 to 100,
and ``bleu_95`` are null where they were not asked for. ``video`` rows in noise repeat the clean one (see
``conditions``). ``runs`` says for each evaluated model what made its rows: file hashes, seed, settings, versions,
command. ``hypotheses.jsonl`` has every transcript once (no repeats for ``video`` in noise), with the utterance whose
clip was shown where it is another's, ``failures.jsonl`` the utterances that could not be read.
Files that know neither video streams nor BLEU are read as having none.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avspeech.evaluation.bleu import BleuCounts, bleu_interval, corpus_bleu
from avspeech.evaluation.bootstrap import wer_interval
from avspeech.evaluation.conditions import OWN, Condition
from avspeech.evaluation.error_rate import ErrorCounts, total

ALL_LANGUAGES = "all"
UNKNOWN_LANGUAGE = "und"  # ISO 639: undetermined
SAME_FOR_COMPARISON = ("manifest_sha256", "seed", "normalization")


@dataclass(frozen=True)
class ConditionResult:
    """One row of ``results.json``; the fields are its keys."""

    model: str
    modality: str
    noise: str
    snr_db: float | None
    language: str
    n_utterances: int
    n_words: int
    wer: float
    cer: float
    substitutions: int
    deletions: int
    insertions: int
    wer_95: tuple[float, float]
    video_stream: str = OWN
    bleu: float | None = None
    bleu_95: tuple[float, float] | None = None

    @property
    def condition(self) -> Condition:
        return Condition(self.modality, self.noise, self.snr_db, self.video_stream)

    @property
    def key(self) -> tuple:
        """What no other row of the same results may share."""
        return (self.model, self.modality, self.noise, self.snr_db, self.video_stream, self.language)


@dataclass(frozen=True)
class ScoredHypothesis:
    """One line of ``hypotheses.jsonl``: texts as they came, ``errors`` in words after normalisation."""

    id: str
    model: str
    modality: str
    noise: str
    snr_db: float | None
    language: str
    reference: str
    hypothesis: str
    errors: int
    video_stream: str = OWN
    video_of: str | None = None
    """Id of the utterance whose clip stood in for this one's; None for all but ``shuffled``."""

    @property
    def condition(self) -> Condition:
        return Condition(self.modality, self.noise, self.snr_db, self.video_stream)


@dataclass(frozen=True)
class Failure:
    """An utterance that was not scored, why, and in how many of the decoded conditions."""

    id: str
    why: str
    model: str
    n_conditions: int


@dataclass(frozen=True)
class Results:
    """Rows, what made them, and every transcript behind them."""

    conditions: list[ConditionResult]
    runs: list[dict[str, Any]]
    hypotheses: list[ScoredHypothesis] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)


def summarise(
    model: str,
    condition: Condition,
    languages: Sequence[str],
    counts: Sequence[ErrorCounts],
    seed: int,
    ngrams: Sequence[BleuCounts] | None = None,
) -> list[ConditionResult]:
    """Return the rows of one condition: one for each language, and ``all`` where there are several.

    Args:
        model: name of the model in the results.
        condition: what was decoded.
        languages: one an utterance.
        counts: one an utterance, same order.
        seed: of the bootstrap.
        ngrams: one an utterance, same order; None leaves BLEU out.
    """
    names = sorted(set(languages))
    rows = []
    for language in [*names, ALL_LANGUAGES] if len(names) > 1 else names:
        places = [place for place, spoken in enumerate(languages) if language in (spoken, ALL_LANGUAGES)]
        chosen = [counts[place] for place in places]
        translated = None if ngrams is None else [ngrams[place] for place in places]
        errors = total(chosen)
        rows.append(
            ConditionResult(
                model=model,
                modality=condition.modality,
                noise=condition.noise,
                snr_db=condition.snr_db,
                language=language,
                n_utterances=len(chosen),
                n_words=errors.num_words,
                wer=errors.wer,
                cer=errors.cer,
                substitutions=errors.substitutions,
                deletions=errors.deletions,
                insertions=errors.insertions,
                wer_95=wer_interval(chosen, seed),
                video_stream=condition.video_stream,
                bleu=None if translated is None else corpus_bleu(translated),
                bleu_95=None if translated is None else bleu_interval(translated, seed),
            )
        )
    return rows


def write_results(out_dir: str | Path, results: Results) -> None:
    """Write the three files; each appears only when whole, ``results.json`` last."""
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    write_lines(out_dir / "hypotheses.jsonl", (asdict(line) for line in results.hypotheses))
    write_lines(out_dir / "failures.jsonl", (asdict(line) for line in results.failures))
    document = {"conditions": [asdict(row) for row in results.conditions], "runs": results.runs}
    write_text(out_dir / "results.json", json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_results(results_dir: str | Path) -> Results:
    """Read what ``write_results`` wrote.

    Raises:
        ValueError: the folder holds no results, or they are from another version.
    """
    results_dir = Path(results_dir)
    path = results_dir / "results.json"
    if not path.is_file():
        raise ValueError(f"{results_dir} holds no results.json; make it with python -m avspeech.evaluate")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        rows = [_read_row(row) for row in document["conditions"]]
        hypotheses = [ScoredHypothesis(**line) for line in read_lines(results_dir / "hypotheses.jsonl")]
        failures = [Failure(**line) for line in read_lines(results_dir / "failures.jsonl")]
        return Results(rows, document["runs"], hypotheses, failures)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} and the files beside it cannot be read ({type(error).__name__}: {error}); "
            "make them again with python -m avspeech.evaluate"
        ) from error


def _read_row(row: Mapping[str, Any]) -> ConditionResult:
    bleu_95 = row.get("bleu_95")
    intervals = {"wer_95": tuple(row["wer_95"]), "bleu_95": None if bleu_95 is None else tuple(bleu_95)}
    return ConditionResult(**{**row, **intervals})


def merge_results(several: Sequence[Results], pick: Mapping[str, str] | None = None) -> Results:
    """Return the rows of several evaluations as one, for a report that compares their models.

    Args:
        several: results on the same manifest, with the same noise.
        pick: for a modality, the model whose rows stand for it, such as ``{"audio": "audio_only"}``; modalities
            not named keep the rows of all models. None keeps everything.

    Raises:
        ValueError: two results were not made on the same samples, hold the same row, or ``pick`` names a model
            without rows in that modality.
    """
    runs = [run for results in several for run in results.runs]
    _need_same_samples(runs)
    rows = [row for results in several for row in results.conditions]
    for modality, model in (pick or {}).items():
        if not any(row.model == model and row.modality == modality for row in rows):
            names = ", ".join(sorted({row.model for row in rows if row.modality == modality})) or "none"
            raise ValueError(f"pick: model {model!r} has no {modality!r} rows; models that have are: {names}")
    lines = [line for results in several for line in results.hypotheses]
    failures = [failure for results in several for failure in results.failures]
    rows, lines = _picked(rows, pick or {}), _picked(lines, pick or {})
    seen: set[tuple] = set()
    for row in rows:
        if row.key in seen:
            raise ValueError(
                f"two results have a row for model {row.model!r}, {row.condition.label}, {row.language}; "
                "give the models different names (--name) or leave one result out"
            )
        seen.add(row.key)
    models = {row.model for row in rows}
    return Results(rows, [run for run in runs if run["model"] in models], lines, failures)


def _need_same_samples(runs: Sequence[Mapping[str, Any]]) -> None:
    """Rows stand side by side only if the same utterances, noise and scoring made them."""
    noises = {name for run in runs for name in run.get("noises", {})}
    facts: dict[str, list[tuple[str, Any]]] = {}
    for run in runs:
        for key in SAME_FOR_COMPARISON:
            facts.setdefault(key, []).append((run["model"], run.get(key)))
        for name in noises & set(run.get("noises", {})):
            facts.setdefault(f"noises.{name}", []).append((run["model"], run["noises"][name]))
    for key, ((first, value), *others) in facts.items():
        for other, different in others:
            if different != value:
                raise ValueError(
                    f"model {first} was evaluated with {key}={value}, model {other} with {different}: such rows "
                    "cannot be compared; evaluate both with the same manifest and conditions"
                )


def _picked(rows: list, pick: Mapping[str, str]) -> list:
    return [row for row in rows if pick.get(row.modality, row.model) == row.model]


def write_text(path: Path, text: str) -> None:
    """Write a file that gets its name only once it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.stem}.part{path.suffix}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.rename(path)


def write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    """Write JSON lines, whole or not at all."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines; a file that is not there has none."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")  # not splitlines: a transcript may hold U+2028
    return [json.loads(line) for line in lines if line.strip()]
