"""What an evaluation leaves behind: results, transcripts, failures; reading, writing and merging them.

``results.json`` is ``{"format": "avspeech results", "version": 2, "conditions": [...], "runs": [...]}``, as
``results.schema.json`` says (see ``results_schema``). A condition is one row: one model, one modality, one noise, one
SNR, one video stream, one language; with several languages each has its row and ``all`` stands for them together.
Rates are fractions. ``wer_95`` and ``cer_95`` are 95 % intervals, ``[low, high]``; ``wer_95_method`` says how the first
was made (see ``bootstrap``), ``wer_95_units`` and ``wer_95_unit`` from how many speakers or utterances. ``snr_db`` is
null when clean. ``video_stream`` is ``own`` unless the video was replaced or spoilt (see ``conditions``). ``bleu``, 0
to 100, and ``bleu_95`` are null where they were not asked for. ``video`` rows in noise repeat the clean one (see
``conditions``). ``runs`` says for each evaluated model what made its rows: file hashes, seed, settings, versions,
command. ``hypotheses.jsonl`` has every transcript once (no repeats for ``video`` in noise), with the utterance whose
clip was shown where it is another's, ``failures.jsonl`` the utterances that could not be read.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from avspeech.evaluation.bleu import BleuCounts, bleu_interval, corpus_bleu
from avspeech.evaluation.bootstrap import cer_interval, wer_interval
from avspeech.evaluation.conditions import OWN, Condition
from avspeech.evaluation.error_rate import ErrorCounts, total
from avspeech.evaluation.results_schema import FORMAT, VERSION, check_document, upgrade
from avspeech.files import make_folder, read_lines, write_lines, write_text

ALL_LANGUAGES = "all"
UNKNOWN_LANGUAGE = "und"  # ISO 639: undetermined
SAME_FOR_COMPARISON = ("manifest_sha256", "noise_plan_sha256", "seed", "normalization")
_WHAT_TO_DO = {
    "manifest_sha256": "evaluate both on the same manifest",
    "test_set_sha256": "evaluate both on the same utterances and texts",
    "noise_plan_sha256": "evaluate both with the same noise plan (--noise_plan)",
    "normalization": "evaluate both with the same normalization in the conditions YAML",
    "task": "evaluate both with the same task in the conditions YAML",
}


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
    wer_95_method: str
    wer_95_units: int
    wer_95_unit: str
    video_stream: str = OWN
    bleu: float | None = None
    bleu_95: tuple[float, float] | None = None
    cer_95: tuple[float, float] | None = None
    """None in files of version 1."""

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
    """Id of the utterance whose clip stood in for this one's; None where it is its own."""
    speaker: str | None = None
    n_words: int | None = None
    """Words of the reference after normalisation; None in files of version 1."""

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
    speakers: Sequence[str | None] | None = None,
) -> list[ConditionResult]:
    """Return the rows of one condition: one for each language, and ``all`` where there are several.

    Args:
        model: name of the model in the results.
        condition: what was decoded.
        languages: one an utterance.
        counts: one an utterance, same order.
        seed: of the bootstrap.
        ngrams: one an utterance, same order; None leaves BLEU out.
        speakers: one an utterance, same order; None means that nobody knows.
    """
    names = sorted(set(languages))
    rows = []
    for language in [*names, ALL_LANGUAGES] if len(names) > 1 else names:
        places = [place for place, spoken in enumerate(languages) if language in (spoken, ALL_LANGUAGES)]
        chosen = [counts[place] for place in places]
        spoken_by = None if speakers is None else [speakers[place] for place in places]
        translated = None if ngrams is None else [ngrams[place] for place in places]
        errors = total(chosen)
        interval = wer_interval(chosen, seed, spoken_by)
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
                wer_95=(interval.low, interval.high),
                wer_95_method=interval.method,
                wer_95_units=interval.num_units,
                wer_95_unit=interval.unit,
                video_stream=condition.video_stream,
                bleu=None if translated is None else corpus_bleu(translated),
                bleu_95=None if translated is None else bleu_interval(translated, seed, spoken_by),
                cer_95=cer_interval(chosen, seed, spoken_by)[:2],
            )
        )
    return rows


def write_results(out_dir: str | Path, results: Results) -> None:
    """Write the three files; each appears only when whole, ``results.json`` last.

    Raises:
        ValueError: the results do not fit the schema, or the folder cannot be written to; nothing is written.
    """
    out_dir = Path(out_dir)
    document = {
        "format": FORMAT,
        "version": VERSION,
        "conditions": [asdict(row) for row in results.conditions],
        "runs": results.runs,
    }
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    check_document(json.loads(text), out_dir / "results.json")
    make_folder(out_dir, "out_dir")
    write_lines(out_dir / "hypotheses.jsonl", (asdict(line) for line in results.hypotheses))
    write_lines(out_dir / "failures.jsonl", (asdict(line) for line in results.failures))
    write_text(out_dir / "results.json", text)


def read_results(results_dir: str | Path) -> Results:
    """Read what ``write_results`` wrote, now or in an earlier version.

    Raises:
        ValueError: the folder holds no results, they are from a newer version, or they do not fit the schema.
    """
    results_dir = Path(results_dir)
    path = results_dir / "results.json"
    if not path.is_file():
        raise ValueError(f"{results_dir} holds no results.json; make it with python -m avspeech.evaluate")
    try:
        document = upgrade(json.loads(path.read_text(encoding="utf-8")), path)
        check_document(document, path)
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
    intervals = {name: None if row[name] is None else tuple(row[name]) for name in ("wer_95", "cer_95", "bleu_95")}
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
    need_same_samples([(f"model {run['model']}", run) for run in runs])
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
    _need_same_pictures(rows, runs)
    models = {row.model for row in rows}
    return Results(rows, [run for run in runs if run["model"] in models], lines, failures)


def need_same_samples(runs: Sequence[tuple[str, Mapping[str, Any]]], also: Sequence[str] = ()) -> None:
    """Check that rows may stand side by side: the same utterances, noise and scoring made them.

    A manifest that lies elsewhere has another hash; where both runs have a hash of the test set, that decides instead.
    Where noise was frozen in a plan, the plan decides; where it was drawn as it was mixed, the noises and the seed.

    Args:
        runs: with what each is called in the message.
        also: further keys that must be equal.

    Raises:
        ValueError: they are not; the message has both values.
    """
    for place, (other, later) in enumerate(runs):
        for first, earlier in runs[:place]:
            for key, value, different in _facts(earlier, later, also):
                if value != different:
                    raise ValueError(
                        f"{first} was evaluated with {key}={value}, {other} with {different}: such rows cannot be "
                        f"compared; {_WHAT_TO_DO.get(key, 'evaluate both with the same conditions')}"
                    )


def _facts(one: Mapping[str, Any], other: Mapping[str, Any], also: Sequence[str]) -> Iterator[tuple[str, Any, Any]]:
    """What must be equal in two runs, by key."""
    planned = [run.get("noise_plan_sha256") is not None for run in (one, other)]
    noisy = [plan or bool(run.get("noises")) for plan, run in zip(planned, (one, other), strict=True)]
    for key in (*SAME_FOR_COMPARISON, *also):
        if key == "manifest_sha256" and "test_set_sha256" in one and "test_set_sha256" in other:
            key = "test_set_sha256"
        if key == "noise_plan_sha256" and not all(noisy):
            continue  # one was clean throughout, so nothing contradicts
        if key == "seed" and any(planned):
            continue
        yield key, one.get(key), other.get(key)
    if not any(planned):
        for name in sorted(set(one.get("noises", {})) & set(other.get("noises", {}))):
            yield f"noises.{name}", one["noises"][name], other["noises"][name]


def _need_same_pictures(rows: Sequence[ConditionResult], runs: Sequence[Mapping[str, Any]]) -> None:
    """Check that a stream that is drawn was drawn from one seed; a noise plan freezes what is heard, not what is seen.

    Raises:
        ValueError: it was not.
    """
    seed_of = {run["model"]: run["seed"] for run in runs}
    first: dict[str, str] = {}
    for row in rows:
        if row.condition.is_drawn:
            other = first.setdefault(row.video_stream, row.model)
            if seed_of[other] != seed_of[row.model]:
                raise ValueError(
                    f"model {other} was shown {row.video_stream} with seed={seed_of[other]}, {row.model} with "
                    f"{seed_of[row.model]}, so other pictures; evaluate both with the same seed in the conditions YAML"
                )


def _picked(rows: list, pick: Mapping[str, str]) -> list:
    return [row for row in rows if pick.get(row.modality, row.model) == row.model]
