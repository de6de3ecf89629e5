"""What a report says about results: the grid as a table, differences between modalities, marked transcripts.

Everything is about models that see their own video, but for ``contribution_tables``, which is about the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from avspeech.evaluation.conditions import BLANK, CLEAN, MODALITIES, OWN, SHUFFLED, VIDEO_STREAMS, Condition
from avspeech.evaluation.error_rate import Edit, ErrorCounts, align_words, count_normalized
from avspeech.evaluation.paired_tests import Difference, holm, paired_difference, verdict
from avspeech.evaluation.results import ALL_LANGUAGES, ConditionResult, Results, ScoredHypothesis
from avspeech.text.normalize import normalize_for_scoring, text_language

Noise = tuple[str, float | None]  # name and SNR: a column of the grid
System = tuple[str, str]  # modality and model: a row of the grid

COMPARISONS = (("audio+video", "audio"), ("audio+video", "video"))


@dataclass(frozen=True)
class GridTable:
    """Word error rates of one language: systems down, noises across; None where a cell was not evaluated."""

    language: str
    columns: list[Noise]
    rows: list[tuple[System, list[ConditionResult | None]]]
    best: list[float]
    """Lowest rate of each column."""
    best_bleu: list[float | None]
    """Highest BLEU of each column, None where there is none."""

    @property
    def has_bleu(self) -> bool:
        return any(bleu is not None for bleu in self.best_bleu)


@dataclass(frozen=True)
class ContributionTable:
    """Word error rates of one model by what it sees: streams down, noises across; None where not evaluated."""

    model: str
    language: str
    columns: list[Noise]
    rows: list[tuple[str, list[ConditionResult | None]]]
    removed: list[tuple[str, list[float | None]]]
    """Share of the errors of audio alone that each video removes, below zero where it adds some; None where audio
    alone makes none, or a row is missing."""


@dataclass(frozen=True)
class PairedRow:
    """System a minus system b on the same utterances in the same noise."""

    noise: Noise
    a: System
    b: System
    n_utterances: int
    difference: Difference
    p_holm: float
    """The difference's p-value corrected over all rows of the table."""

    @property
    def verdict(self) -> str:
        """What can be said about a at 5 %, all rows of the table together."""
        return verdict(self.difference.diff, self.p_holm)


@dataclass(frozen=True)
class SampleTranscript:
    """One utterance and what each system made of it in one noise."""

    id: str
    language: str
    reference: str
    heard: list[tuple[System, list[Edit]]]


def systems_of(results: Results) -> list[System]:
    """Return every (modality, model) that has rows, by modality, then in the order of the rows."""
    seen = dict.fromkeys((row.modality, row.model) for row in results.conditions)
    return sorted(seen, key=lambda system: MODALITIES.index(system[0]))


def noises_of(results: Results) -> list[Noise]:
    """Return every (noise, SNR) in the order of the rows, clean first; a noise without an SNR has None."""
    seen = dict.fromkeys((row.noise, row.snr_db) for row in results.conditions)
    return sorted(seen, key=lambda noise: noise[0] != CLEAN)


def languages_of(results: Results) -> list[str]:
    """Return the languages that have rows, ``all`` first where it is there."""
    return sorted({row.language for row in results.conditions}, key=lambda name: (name != ALL_LANGUAGES, name))


def grid_tables(results: Results) -> list[GridTable]:
    """Return one table a language."""
    cells = {
        (row.language, row.modality, row.model, row.noise, row.snr_db): row
        for row in results.conditions
        if row.video_stream == OWN
    }
    columns, tables = noises_of(results), []
    for language in languages_of(results):
        rows = [
            (system, [cells.get((language, *system, *noise)) for noise in columns]) for system in systems_of(results)
        ]
        down = [[cell for _, line in rows if (cell := line[number]) is not None] for number in range(len(columns))]
        best = [min((cell.wer for cell in cells), default=0.0) for cells in down]
        best_bleu = [max((cell.bleu for cell in cells if cell.bleu is not None), default=None) for cells in down]
        tables.append(GridTable(language, columns, rows, best, best_bleu))
    return tables


def contribution_tables(results: Results) -> list[ContributionTable]:
    """Return one table for each model and language whose ``audio+video`` was also decoded with a stand-in video.

    Audio alone stands last, this model's and then others': what a model with a useless video should fall back on.
    Columns are the noises in which there was a stand-in. Errors are removed from this model's audio alone, or, where
    it has none, from the first other's.
    """
    cells = {(row.model, row.language, row.condition): row for row in results.conditions}
    replaced = [row for row in results.conditions if row.video_stream in (BLANK, SHUFFLED)]
    tried = {(row.noise, row.snr_db) for row in replaced}
    hearing = [model for modality, model in systems_of(results) if modality == "audio"]
    columns, tables = [noise for noise in noises_of(results) if noise in tried], []
    for model, language in product(dict.fromkeys(row.model for row in replaced), languages_of(results)):
        lines = [(f"audio+video, {stream} video", model, "audio+video", stream) for stream in VIDEO_STREAMS]
        lines += [("audio alone", model, "audio", OWN)]
        lines += [(f"audio alone ({other})", other, "audio", OWN) for other in hearing if other != model]
        rows = [
            (label, [cells.get((owner, language, Condition(modality, *noise, stream))) for noise in columns])
            for label, owner, modality, stream in lines
        ]
        rows = [row for row in rows if any(row[1])]
        sound = next((found for label, found in rows if label.startswith("audio alone")), [None] * len(columns))
        removed = [
            (label.removeprefix("audio+video, "), [_removed(a, b) for a, b in zip(found, sound, strict=True)])
            for label, found in rows
            if label.startswith("audio+video")
        ]
        tables.append(ContributionTable(model, language, columns, rows, removed))
    return tables


def _removed(seen: ConditionResult | None, sound: ConditionResult | None) -> float | None:
    return None if seen is None or sound is None or not sound.wer else 1 - seen.wer / sound.wer


def paired_rows(results: Results) -> list[PairedRow]:
    """Compare audio+video with audio and with video in every noise, over utterances that both have.

    ``video`` transcripts are those of clean speech in every noise. The seed and the normalisation are the run's.
    """
    by_cell = _transcripts(results)
    seed = results.runs[0]["seed"]
    systems = systems_of(results)
    pairs = [(a, b) for one, other in COMPARISONS for a, b in product(systems, systems) if (a[0], b[0]) == (one, other)]
    counted: dict[tuple[System, Noise], dict[str, ErrorCounts]] = {}

    def counts(system: System, noise: Noise) -> dict[str, ErrorCounts]:
        if (system, noise) not in counted:
            lines = by_cell.get((system, noise), {})
            counted[system, noise] = {name: line_counts(line, *_scoring(results, line)) for name, line in lines.items()}
        return counted[system, noise]

    rows = []
    for (a, b), noise in product(pairs, noises_of(results)):
        counts_a, counts_b = counts(a, _as_decoded(a, noise)), counts(b, _as_decoded(b, noise))
        names = [name for name in counts_a if name in counts_b]
        if names:
            lines = by_cell[a, _as_decoded(a, noise)]
            difference = paired_difference(
                [counts_a[n] for n in names], [counts_b[n] for n in names], seed, [lines[n].speaker for n in names]
            )
            rows.append(PairedRow(noise, a, b, len(names), difference, difference.p_value))
    corrected = holm([row.p_holm for row in rows])
    return [replace(row, p_holm=p_value) for row, p_value in zip(rows, corrected, strict=True)]


def line_counts(line: ScoredHypothesis, language: str, rule: str) -> ErrorCounts:
    """Return words and errors of a line, as they were counted when it was written where it says so.

    Args:
        line: of ``hypotheses.jsonl``.
        language: that its texts are in.
        rule: of normalisation, the run's.
    """
    if line.n_words is not None:
        return ErrorCounts(num_words=line.n_words, substitutions=line.errors)  # the kinds of error do not matter here
    return count_normalized(line.reference, line.hypothesis, language, rule)


def sample_transcripts(results: Results, noise: Noise, count: int = 6) -> list[SampleTranscript]:
    """Return ``count`` utterances spread evenly over the sorted ids, so that nobody picked them.

    Args:
        results: with hypotheses.
        noise: the column that the transcripts are from.
        count: utterances.
    """
    columns = _columns(results, noise)
    names = sorted(set.intersection(*(set(lines) for _, lines in columns))) if columns else []
    chosen = [names[number * len(names) // count] for number in range(count)] if len(names) > count else names
    return [_sample(results, columns, name) for name in chosen]


def transcript_of(results: Results, noise: Noise, name: str) -> SampleTranscript | None:
    """Return what every system made of one utterance in one noise; None where nobody has it."""
    columns = [(system, lines) for system, lines in _columns(results, noise) if name in lines]
    return _sample(results, columns, name) if columns else None


def _columns(results: Results, noise: Noise) -> list[tuple[System, dict[str, ScoredHypothesis]]]:
    """Transcripts by utterance of every system that has some in that noise."""
    by_cell = _transcripts(results)
    columns = [(system, by_cell.get((system, _as_decoded(system, noise)), {})) for system in systems_of(results)]
    return [(system, lines) for system, lines in columns if lines]


def _sample(
    results: Results, columns: Sequence[tuple[System, dict[str, ScoredHypothesis]]], name: str
) -> SampleTranscript:
    line = columns[0][1][name]
    scoring = _scoring(results, line)
    reference = normalize_for_scoring(line.reference, *scoring)
    heard = [
        (system, align_words(reference, normalize_for_scoring(lines[name].hypothesis, *scoring)))
        for system, lines in columns
    ]
    return SampleTranscript(name, line.language, reference, heard)


def telling_noise(results: Results) -> Noise:
    """Return the column that says most in one line: the first noise's SNR nearest to 0 dB, or clean."""
    noisy = [noise for noise in noises_of(results) if noise[0] != CLEAN]
    if not noisy:
        return noises_of(results)[0]
    return min((noise for noise in noisy if noise[0] == noisy[0][0]), key=lambda noise: abs(noise[1] or 0.0))


def headline_rows(results: Results) -> list[tuple[System, ConditionResult, ConditionResult | None]]:
    """Return every system with its row in the telling column, and its clean row where that is another one."""
    telling, language = telling_noise(results), languages_of(results)[0]
    rows = {(row.modality, row.model, row.noise, row.snr_db): row for row in rows_of(results, language)}
    clean = (CLEAN, None)
    return [
        (system, rows[*system, *telling], None if telling == clean else rows.get((*system, *clean)))
        for system in systems_of(results)
        if (*system, *telling) in rows
    ]


def headline(results: Results) -> str:
    """Return one sentence with the rates of every system in the telling column."""
    noise = telling_noise(results)
    language = languages_of(results)[0]
    words = {"audio": "from sound alone", "video": "from lips alone", "audio+video": "from sound and lips"}
    several = len({row.model for row in results.conditions}) > 1
    cells = {(row.modality, row.model): row for row in rows_of(results, language) if (row.noise, row.snr_db) == noise}
    translated = any(row.bleu is not None for row in cells.values())
    parts = [
        f"{_figure(cells[system], translated)} {words[system[0]]}{f' ({system[1]})' if several else ''}"
        for system in systems_of(results)
        if system in cells
    ]
    where = f"In {noise[0]}" if noise[1] is None else f"In {noise[0]} at {noise[1]:g} dB"
    where = "In clean speech" if noise[0] == CLEAN else where
    return f"{where}, {'BLEU' if translated else 'the word error rate'} is {', '.join(parts)}."


def _figure(row: ConditionResult, translated: bool) -> str:
    if translated:
        return "unknown" if row.bleu is None else f"{row.bleu:.1f}"
    return f"{100 * row.wer:.1f} %"


def _scoring(results: Results, line: ScoredHypothesis) -> tuple[str, str]:
    """Language and rule by which a line's texts are normalised."""
    run = results.runs[0]
    return text_language(line.language, run.get("task")), run["normalization"]


def _as_decoded(system: System, noise: Noise) -> Noise:
    decoded = Condition(system[0], *noise).decoded_as
    return decoded.noise, decoded.snr_db


def _transcripts(results: Results) -> dict[tuple[System, Noise], dict[str, ScoredHypothesis]]:
    cells: dict[tuple[System, Noise], dict[str, ScoredHypothesis]] = {}
    for line in results.hypotheses:
        if line.video_stream != OWN:
            continue
        cells.setdefault(((line.modality, line.model), (line.noise, line.snr_db)), {})[line.id] = line
    return cells


def system_label(system: System, results: Results) -> str:
    """Return the modality, with the model behind it where the results have several models."""
    several = len({row.model for row in results.conditions}) > 1
    return f"{system[0]} ({system[1]})" if several else system[0]


def rows_of(results: Results, language: str) -> Sequence[ConditionResult]:
    """Return the rows of one language, of models that see their own video."""
    return [row for row in results.conditions if row.language == language and row.video_stream == OWN]
