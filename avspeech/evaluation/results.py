"""Results of an evaluation, read and written as three files; several are merged where they are comparable.

- ``results.json``: rows (``conditions``) and ``runs`` (hashes, seed, settings, versions and command of each model), see
  ``results.schema.json``. Increase ``VERSION`` when older readers would misread a change.
- ``hypotheses.jsonl``: every transcript once. ``failures.jsonl``: utterances that could not be read.

``video`` rows in noise repeat the clean row; language ``all`` joins several.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import combinations
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from avspeech.evaluation.bleu import BleuCounts, bleu_interval, corpus_bleu
from avspeech.evaluation.bootstrap import cer_interval, wer_interval
from avspeech.evaluation.conditions import CLEAN, MODALITIES, OWN, Condition
from avspeech.evaluation.error_rate import ErrorCounts, total
from avspeech.files import make_folder, read_lines, write_lines, write_text

FORMAT, VERSION = "avspeech results", 2
Noise = tuple[str, float | None]  # name and SNR: a column of the report
System = tuple[str, str]  # modality and model
ALL_LANGUAGES = "all"
UNKNOWN_LANGUAGE = "und"  # ISO 639: undetermined
SAME_FOR_COMPARISON = ("manifest_sha256", "noise_plan_sha256", "seed", "normalization")
_REMEDIES = {
    "manifest_sha256": "evaluate both on the same manifest",
    "test_set_sha256": "evaluate both on the same utterances and texts",
    "noise_plan_sha256": "evaluate both with the same noise plan (--noise_plan)",
    "normalization": "evaluate both with the same normalization in the conditions YAML",
    "task": "evaluate both with the same task in the conditions YAML",
}


@dataclass(frozen=True)
class ConditionResult:
    """One row of ``results.json``; the fields are its keys, words are those of normalised references."""

    model: str
    modality: str
    noise: str
    snr_db: float | None
    language: str
    n_utterances: int
    n_words: int
    wer: float
    cer: float
    """Fractions; insertions can take them above 1."""
    substitutions: int
    deletions: int
    insertions: int
    wer_95: tuple[float, float]
    wer_95_method: str
    wer_95_units: int
    wer_95_unit: str
    """``speaker`` or ``utterance``, see ``bootstrap.Interval``."""
    video_stream: str = OWN
    bleu: float | None = None
    """0 to 100; None if not requested."""
    bleu_95: tuple[float, float] | None = None
    cer_95: tuple[float, float] | None = None

    @property
    def condition(self) -> Condition:
        return Condition(self.modality, self.noise, self.snr_db, self.video_stream)

    @property
    def system(self) -> System:
        return self.modality, self.model

    @property
    def at(self) -> Noise:
        """Noise and SNR."""
        return self.noise, self.snr_db


@dataclass(frozen=True)
class ScoredHypothesis:
    """One line of ``hypotheses.jsonl``: raw texts, and counts of words and word errors after normalisation."""

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
    """Id of the utterance that the clip came from; None for its own."""
    speaker: str | None = None
    n_words: int = field(kw_only=True)

    @property
    def condition(self) -> Condition:
        return Condition(self.modality, self.noise, self.snr_db, self.video_stream)

    @property
    def counts(self) -> ErrorCounts:
        """All errors as substitutions."""
        return ErrorCounts(num_words=self.n_words, substitutions=self.errors)


@dataclass(frozen=True)
class Failure:
    """An utterance that was not scored, the reason, and the number of decoded conditions without it."""

    id: str
    why: str
    model: str
    n_conditions: int


@dataclass(frozen=True)
class Results:
    """Rows, with their runs, transcripts and failures."""

    conditions: list[ConditionResult]
    runs: list[dict[str, Any]]
    hypotheses: list[ScoredHypothesis] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    @cached_property
    def transcripts(self) -> dict[tuple[str, Condition], dict[str, ScoredHypothesis]]:
        """Transcripts by id, by model and decoded condition."""
        found: dict[tuple[str, Condition], dict[str, ScoredHypothesis]] = {}
        for line in self.hypotheses:
            found.setdefault((line.model, line.condition), {})[line.id] = line
        return found

    def lines_of(self, model: str, condition: Condition) -> dict[str, ScoredHypothesis]:
        """Return the transcripts that a condition uses (``Condition.decoded_as``), by id."""
        return self.transcripts.get((model, condition.decoded_as), {})

    @cached_property
    def cells(self) -> dict[tuple[str, Condition, str], ConditionResult]:
        return {(row.model, row.condition, row.language): row for row in self.conditions}

    @property
    def models(self) -> list[str]:
        return list(dict.fromkeys(row.model for row in self.conditions))

    def run_of(self, model: str) -> dict[str, Any]:
        return next(run for run in self.runs if run["model"] == model)

    @property
    def systems(self) -> list[System]:
        return systems_of(self.conditions)

    @property
    def noises(self) -> list[Noise]:
        """Noises and SNRs in row order, clean first."""
        return sorted(dict.fromkeys(row.at for row in self.conditions), key=lambda noise: noise[0] != CLEAN)

    @property
    def languages(self) -> list[str]:
        """Languages with rows, ``all`` first."""
        return sorted({row.language for row in self.conditions}, key=lambda name: (name != ALL_LANGUAGES, name))

    def rows_of(self, language: str) -> list[ConditionResult]:
        """Return the rows of one language with the own video."""
        return [row for row in self.conditions if row.language == language and row.video_stream == OWN]


def systems_of(rows: Iterable[ConditionResult]) -> list[System]:
    """Return the systems of the rows, by modality, then in row order."""
    return sorted(dict.fromkeys(row.system for row in rows), key=lambda system: MODALITIES.index(system[0]))


def summarise(
    condition: Condition,
    lines: Sequence[ScoredHypothesis],
    counts: Sequence[ErrorCounts],
    seed: int,
    ngrams: Sequence[BleuCounts] | None = None,
) -> list[ConditionResult]:
    """Return the rows of one condition: one for each language, and ``all`` if there are several.

    ``counts`` and ``ngrams`` have one entry per line. ``ngrams`` None omits BLEU.
    """
    names = sorted({line.language for line in lines})
    rows = []
    for language in [*names, ALL_LANGUAGES] if len(names) > 1 else names:
        places = [place for place, line in enumerate(lines) if language in (line.language, ALL_LANGUAGES)]
        chosen = [counts[place] for place in places]
        spoken_by = [lines[place].speaker for place in places]
        translated = None if ngrams is None else [ngrams[place] for place in places]
        errors, interval = total(chosen), wer_interval(chosen, seed, spoken_by)
        row = ConditionResult(
            model=lines[0].model,
            **vars(condition),
            language=language,
            n_utterances=len(chosen),
            n_words=errors.num_words,
            wer=errors.wer,
            cer=errors.cer,
            substitutions=errors.substitutions,
            deletions=errors.deletions,
            insertions=errors.insertions,
            wer_95=(interval.low, interval.high),
            wer_95_method=interval.method,
            wer_95_units=interval.num_units,
            wer_95_unit=interval.unit,
            bleu=None if translated is None else corpus_bleu(translated),
            bleu_95=None if translated is None else bleu_interval(translated, seed, spoken_by),
            cer_95=cer_interval(chosen, seed, spoken_by)[:2],
        )
        rows.append(row)
    return rows


def write_results(out_dir: str | Path, results: Results) -> None:
    """Write the files atomically; ``ValueError``: unfit for the schema, or the folder is not writable."""
    out_dir = Path(out_dir)
    rows = [asdict(row) for row in results.conditions]
    document = {"format": FORMAT, "version": VERSION, "conditions": rows, "runs": results.runs}
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    _check_document(json.loads(text), out_dir / "results.json")
    make_folder(out_dir, "out_dir")
    write_lines(out_dir / "hypotheses.jsonl", (asdict(line) for line in results.hypotheses))
    write_lines(out_dir / "failures.jsonl", (asdict(line) for line in results.failures))
    write_text(out_dir / "results.json", text)


def read_results(results_dir: str | Path) -> Results:
    """Read what ``write_results`` wrote; ``ValueError``: it is missing, of another version, or does not fit."""
    results_dir, path = Path(results_dir), Path(results_dir, "results.json")
    if not path.is_file():
        raise ValueError(f"{results_dir} holds no results.json; make it with python -m avspeech.evaluate")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        _check_document(document, path)
        pairs = ("wer_95", "cer_95", "bleu_95")
        rows = [
            ConditionResult(**row | {name: row[name] and tuple(row[name]) for name in pairs})
            for row in document["conditions"]
        ]
        hypotheses = [ScoredHypothesis(**line) for line in read_lines(results_dir / "hypotheses.jsonl")]
        failures = [Failure(**line) for line in read_lines(results_dir / "failures.jsonl")]
        return Results(rows, document["runs"], hypotheses, failures)
    except (TypeError, json.JSONDecodeError) as error:
        why = f"{path} and the files beside it cannot be read ({type(error).__name__}: {error})"
        raise ValueError(f"{why}; make them again with python -m avspeech.evaluate") from error


@lru_cache
def _validator() -> Draft202012Validator:
    schema = files("avspeech.evaluation").joinpath("results.schema.json")
    return Draft202012Validator(json.loads(schema.read_text("utf-8")))


def _check_document(document: Any, path: Path) -> None:
    version = document.get("version", 1) if isinstance(document, dict) and "conditions" in document else VERSION
    if version != VERSION:
        why = f"{path} has version {version} of the results format, this avspeech reads {VERSION}"
        raise ValueError(f"{why}; evaluate again, or read it with the version of avspeech that wrote it")
    if (error := best_match(_validator().iter_errors(document))) is not None:
        place = error.json_path.removeprefix("$").removeprefix(".") or "the document"
        message = " ".join(error.message.split())  # it may quote the whole document
        message = message if len(message) <= 200 else f"...{message[-200:]}"
        raise ValueError(f"{path}: {place}: {message}; see evaluation/results.schema.json, or evaluate again")


def merge_results(several: Sequence[Results], pick: Mapping[str, str] | None = None) -> Results:
    """Return the results of several evaluations as one; ``ValueError``: they differ or repeat a row.

    ``pick`` keeps one model of a modality, such as ``{"audio": "audio_only"}``; other modalities keep all models.
    """
    pick = pick or {}
    runs = [run for results in several for run in results.runs]
    need_same_samples([(f"model {run['model']}", run) for run in runs])
    rows = [row for results in several for row in results.conditions]
    for modality, model in pick.items():
        if model not in (models := sorted({row.model for row in rows if row.modality == modality})):
            names = ", ".join(models) or "none"
            raise ValueError(f"pick: model {model!r} has no {modality!r} rows; models that have are: {names}")
    rows = [row for row in rows if pick.get(row.modality, row.model) == row.model]
    run_of = {run["model"]: run for run in runs}
    times = Counter((row.model, row.condition, row.language) for row in rows)
    for model, condition, language in (key for key in times if times[key] > 1):
        twice = f"two results have a row for model {model!r}, {condition.label}, {language}"
        raise ValueError(f"{twice}; give the models different names (--name) or leave one result out")
    first: dict[str, str] = {}
    for row in rows:
        if row.condition.is_drawn:
            other = first.setdefault(row.video_stream, row.model)
            need_same_pictures(row.condition, *((f"model {name}", run_of[name]) for name in (other, row.model)))
    lines = [line for results in several for line in results.hypotheses]
    return Results(
        rows,
        [run for run in runs if run["model"] in {row.model for row in rows}],
        [line for line in lines if pick.get(line.modality, line.model) == line.model],
        [failure for results in several for failure in results.failures],
    )


def need_same_samples(runs: Sequence[tuple[str, Mapping[str, Any]]], also: Sequence[str] = ()) -> None:
    """Raise ``ValueError`` if runs, each with its name, differ in utterances, noise, scoring or ``also`` keys.

    The hash of the test set replaces the manifest's if both runs have it. Without a noise plan, the seed and the
    settings of shared noises must be equal.
    """
    for (first, earlier), (other, later) in combinations(runs, 2):
        for key, value, different in _facts(earlier, later, also):
            if value != different:
                differ = f"{first} was evaluated with {key}={value}, {other} with {different}"
                remedy = _REMEDIES.get(key, "evaluate both with the same conditions")
                raise ValueError(f"{differ}: such rows cannot be compared; {remedy}")


def _facts(one: Mapping[str, Any], other: Mapping[str, Any], also: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    planned = [run.get("noise_plan_sha256") is not None for run in (one, other)]
    noisy = [plan or bool(run.get("noises")) for plan, run in zip(planned, (one, other), strict=True)]
    for key in (*SAME_FOR_COMPARISON, *also):
        if key == "manifest_sha256" and "test_set_sha256" in one and "test_set_sha256" in other:
            key = "test_set_sha256"
        if key == "noise_plan_sha256" and not all(noisy):
            continue  # one run has no noise to compare
        if key == "seed" and any(planned):
            continue
        yield key, one.get(key), other.get(key)
    if not any(planned):
        for name in sorted(set(one.get("noises", {})) & set(other.get("noises", {}))):
            yield f"noises.{name}", one["noises"][name], other["noises"][name]


def need_same_pictures(condition: Condition, *runs: tuple[str, Mapping[str, Any]]) -> None:
    """Raise ``ValueError`` if the condition's video is drawn and two runs, each with its name, differ in the seed."""
    (one, first), (other, second) = runs
    if condition.is_drawn and first["seed"] != second["seed"]:
        shown = f"{one} was shown {condition.video_stream} with seed={first['seed']}, {other} with {second['seed']}"
        raise ValueError(f"{shown}, so their videos differ; evaluate both with the same seed in the conditions YAML")
