"""Tables, transcripts and headline of the report."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, product

from avspeech.evaluation.conditions import BLANK, CLEAN, MODALITIES, OWN, SHUFFLED, VIDEO_STREAMS, Condition
from avspeech.evaluation.error_rate import Edit, align_words
from avspeech.evaluation.paired_tests import PairedRow, correct_rows, pair_lines
from avspeech.evaluation.results import ConditionResult, Noise, Results, System
from avspeech.text.normalize import normalize_for_scoring, text_language

COMPARISONS = (("audio+video", "audio"), ("audio+video", "video"))
_INPUTS = {"audio": "from sound alone", "video": "from lips alone", "audio+video": "from sound and lips"}


@dataclass(frozen=True)
class Line:
    """One table line: a system with one video stream, in every noise; a cell is None if not evaluated."""

    system: System
    video_stream: str
    cells: list[ConditionResult | None]
    label: str


@dataclass(frozen=True)
class Table:
    """Results in one language; columns are noises, ``model`` is empty for several models."""

    model: str
    language: str
    columns: list[Noise]
    lines: list[Line]

    @property
    def groups(self) -> list[tuple[str, int]]:
        return [(name, len(list(several))) for name, several in groupby(self.columns, key=lambda noise: noise[0])]

    def best(self, measure: str) -> list[float | None]:
        """Return the lowest ``wer`` or the highest ``bleu`` of each column; None without a value."""
        found = []
        for column in zip(*(line.cells for line in self.lines), strict=True):
            values = [value for cell in column if cell and (value := getattr(cell, measure)) is not None]
            found.append((max if measure == "bleu" else min)(values, default=None))
        return found

    @property
    def removed(self) -> list[tuple[str, list[float | None]]]:
        """Share of the first audio line's errors that each video removes; None without errors or a row."""
        sound = next((line.cells for line in self.lines if line.system[0] == "audio"), [None] * len(self.columns))
        both = [line for line in self.lines if line.system[0] == "audio+video"]
        return [(line.label.removeprefix("audio+video, "), list(map(_share, line.cells, sound))) for line in both]


def _share(seen: ConditionResult | None, sound: ConditionResult | None) -> float | None:
    return None if seen is None or sound is None or not sound.wer else 1 - seen.wer / sound.wer


def _table(
    results: Results, model: str, language: str, columns: list[Noise], lines: Iterable[tuple[System, str, str]]
) -> Table:
    """Return a table of (system, video stream, label) lines, without empty ones."""
    found = []
    for system, stream, label in lines:
        conditions = [Condition(system[0], *noise, stream) for noise in columns]
        cells = [results.cells.get((system[1], condition, language)) for condition in conditions]
        if any(cells):
            found.append(Line(system, stream, cells, label))
    return Table(model, language, columns, found)


def grid_tables(results: Results) -> list[Table]:
    """Return one table per language: systems with their own video."""
    lines = [(system, OWN, system_label(system, results)) for system in results.systems]
    return [_table(results, "", language, results.noises, lines) for language in results.languages]


def heat_maps(results: Results) -> list[Table]:
    """Return one table per language and model: modalities with their video streams."""
    maps = []
    for language, model in product(results.languages, results.models):
        mine = [row for row in results.conditions if (row.model, row.language) == (model, language)]
        lines = dict.fromkeys((row.system, row.video_stream, row.modality) for row in mine)
        ordered = sorted(lines, key=lambda line: (MODALITIES.index(line[2]), line[1] != OWN))
        maps.append(_table(results, model, language, results.noises, ordered))
    return [table for table in maps if table.lines]


def contribution_tables(results: Results) -> list[Table]:
    """Return one table per language and model with blank or shuffled video; lines of audio alone come last."""
    replaced = [row for row in results.conditions if row.video_stream in (BLANK, SHUFFLED)]
    columns = [noise for noise in results.noises if noise in {row.at for row in replaced}]
    hearing = [model for modality, model in results.systems if modality == "audio"]
    tables = []
    for model, language in product(dict.fromkeys(row.model for row in replaced), results.languages):
        both = ("audio+video", model)
        lines = [(both, stream, f"audio+video, {stream} video") for stream in VIDEO_STREAMS]
        lines += [(("audio", model), OWN, "audio alone")]
        lines += [(("audio", other), OWN, f"audio alone ({other})") for other in hearing if other != model]
        tables.append(_table(results, model, language, columns, lines))
    return tables


def paired_rows(results: Results) -> list[PairedRow]:
    """Return audio+video against audio and against video in every noise."""
    rows = []
    for pair, a, b, noise in product(COMPARISONS, results.systems, results.systems, results.noises):
        if (a[0], b[0]) == pair:
            conditions = Condition(a[0], *noise), Condition(b[0], *noise)
            lines = results.lines_of(a[1], conditions[0]), results.lines_of(b[1], conditions[1])
            rows.append(pair_lines(conditions, results.languages[0], *lines, results.runs[0]["seed"]))
    return correct_rows([row for row in rows if row is not None])


@dataclass(frozen=True)
class SampleTranscript:
    """One utterance, with the edits from its reference to each system's transcript."""

    id: str
    language: str
    reference: str
    heard: list[tuple[System, list[Edit]]]


def sample_transcripts(results: Results, noise: Noise, count: int = 6) -> list[SampleTranscript]:
    """Return up to ``count`` utterances that every system has, evenly spaced over the sorted ids."""
    heard = [results.lines_of(model, Condition(modality, *noise)) for modality, model in results.systems]
    names = sorted(set.intersection(*map(set, filter(None, heard)))) if any(heard) else []
    chosen = [names[number * len(names) // count] for number in range(count)] if len(names) > count else names
    return [sample for name in chosen if (sample := transcript_of(results, noise, name))]


def transcript_of(results: Results, noise: Noise, name: str) -> SampleTranscript | None:
    """Return the transcripts of one utterance; None if no system has it."""
    heard = {system: results.lines_of(system[1], Condition(system[0], *noise)) for system in results.systems}
    found = {system: lines[name] for system, lines in heard.items() if name in lines}
    if not found:
        return None
    first, run = next(iter(found.values())), results.runs[0]
    rule = text_language(first.language, run.get("task")), run["normalization"]
    reference = normalize_for_scoring(first.reference, *rule)
    texts = {system: normalize_for_scoring(line.hypothesis, *rule) for system, line in found.items()}
    edits = [(system, align_words(reference, text)) for system, text in texts.items()]
    return SampleTranscript(name, first.language, reference, edits)


def telling_noise(results: Results) -> Noise:
    """Return the first noise at its SNR nearest to 0 dB, or clean; the headline and transcripts show it."""
    noisy = [noise for noise in results.noises if noise[0] != CLEAN]
    if not noisy:
        return results.noises[0]
    return min((noise for noise in noisy if noise[0] == noisy[0][0]), key=lambda noise: abs(noise[1] or 0.0))


def headline_rows(results: Results) -> list[tuple[System, ConditionResult, ConditionResult | None]]:
    """Return every system with its row in the telling noise, and its clean row if that is another one."""
    telling, clean = telling_noise(results), (CLEAN, None)
    rows = {(row.system, row.at): row for row in results.rows_of(results.languages[0])}
    found = [(system, rows[system, telling]) for system in results.systems if (system, telling) in rows]
    return [(system, row, None if telling == clean else rows.get((system, clean))) for system, row in found]


def headline(results: Results) -> str:
    """Return one sentence with every system's rate in the telling noise."""
    found = headline_rows(results)
    translated = any(row.bleu is not None for _, row, _ in found)
    parts = []
    for system, row, _ in found:
        figure = f"{100 * row.wer:.1f} %" if not translated else "unknown" if row.bleu is None else f"{row.bleu:.1f}"
        parts.append(" ".join([figure, system_label(system, results).replace(system[0], _INPUTS[system[0]], 1)]))
    name, snr_db = telling_noise(results)
    where = "clean speech" if name == CLEAN else name if snr_db is None else f"{name} at {snr_db:g} dB"
    return f"In {where}, {'BLEU' if translated else 'the word error rate'} is {', '.join(parts)}."


def system_label(system: System, results: Results) -> str:
    """Return the modality, followed by the model if the results have several."""
    return f"{system[0]} ({system[1]})" if len(results.models) > 1 else system[0]
