"""Tables, transcripts and headline of the report."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby, product

from avspeech.evaluation.comparison import PairedRow, correct_rows, pair_lines
from avspeech.evaluation.conditions import BLANK, CLEAN, MODALITIES, OWN, SHUFFLED, VIDEO_STREAMS, Condition
from avspeech.evaluation.error_rate import Edit, align_words
from avspeech.evaluation.results import ConditionResult, Noise, Results, ScoredHypothesis, System
from avspeech.text.normalize import normalize_for_scoring, text_language

COMPARISONS = (("audio+video", "audio"), ("audio+video", "video"))
_INPUTS = {"audio": "from sound alone", "video": "from lips alone", "audio+video": "from sound and lips"}


@dataclass(frozen=True)
class Line:
    """One table line: a system with one video stream, in every noise."""

    system: System
    video_stream: str
    cells: list[ConditionResult | None]
    """One per column; None if not evaluated."""
    label: str = ""


@dataclass(frozen=True)
class Table:
    """Results in one language; columns are noises."""

    model: str
    """Empty for several models."""
    language: str
    columns: list[Noise]
    lines: list[Line]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Noise names with numbers of columns."""
        return [(name, len(list(several))) for name, several in groupby(self.columns, key=lambda noise: noise[0])]

    @property
    def has_bleu(self) -> bool:
        return any(cell is not None and cell.bleu is not None for line in self.lines for cell in line.cells)

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
        return [
            (line.label.removeprefix("audio+video, "), [_share(*pair) for pair in zip(line.cells, sound, strict=True)])
            for line in self.lines
            if line.system[0] == "audio+video"
        ]


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
    for language, model in product(results.languages, dict.fromkeys(row.model for row in results.conditions)):
        mine = [row for row in results.conditions if (row.model, row.language) == (model, language)]
        streams = dict.fromkeys((row.modality, row.video_stream) for row in mine)
        lines = sorted(streams, key=lambda line: (MODALITIES.index(line[0]), line[1] != OWN))
        if lines:
            named = [((modality, model), stream, modality) for modality, stream in lines]
            maps.append(_table(results, model, language, results.noises, named))
    return maps


def contribution_tables(results: Results) -> list[Table]:
    """Return one table per language and model with blank or shuffled video; lines of audio alone come last."""
    replaced = [row for row in results.conditions if row.video_stream in (BLANK, SHUFFLED)]
    tried = {(row.noise, row.snr_db) for row in replaced}
    columns = [noise for noise in results.noises if noise in tried]
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
            lines = _lines_of(results, a, noise), _lines_of(results, b, noise)
            rows.append(pair_lines(conditions, results.languages[0], *lines, results.runs[0]["seed"]))
    return correct_rows([row for row in rows if row is not None])


def _lines_of(results: Results, system: System, noise: Noise) -> Mapping[str, ScoredHypothesis]:
    """Return the transcripts of a system in one noise by id; for ``video``, those of clean speech."""
    return results.transcripts.get((system[1], Condition(system[0], *noise).decoded_as), {})


@dataclass(frozen=True)
class SampleTranscript:
    """One utterance, with the edits from its reference to each system's transcript."""

    id: str
    language: str
    reference: str
    heard: list[tuple[System, list[Edit]]]


def sample_transcripts(results: Results, noise: Noise, count: int = 6) -> list[SampleTranscript]:
    """Return up to ``count`` utterances that every system has, evenly spaced over the sorted ids."""
    heard = [lines for system in results.systems if (lines := _lines_of(results, system, noise))]
    names = sorted(set.intersection(*map(set, heard))) if heard else []
    chosen = [names[number * len(names) // count] for number in range(count)] if len(names) > count else names
    return [sample for name in chosen if (sample := transcript_of(results, noise, name))]


def transcript_of(results: Results, noise: Noise, name: str) -> SampleTranscript | None:
    """Return the transcripts of one utterance; None if no system has it."""
    lines = {system: _lines_of(results, system, noise).get(name) for system in results.systems}
    found = {system: line for system, line in lines.items() if line is not None}
    if not found:
        return None
    first, run = next(iter(found.values())), results.runs[0]
    rule = text_language(first.language, run.get("task")), run["normalization"]
    reference = normalize_for_scoring(first.reference, *rule)
    heard = [
        (system, align_words(reference, normalize_for_scoring(line.hypothesis, *rule)))
        for system, line in found.items()
    ]
    return SampleTranscript(name, first.language, reference, heard)


def telling_noise(results: Results) -> Noise:
    """Return the first noise at its SNR nearest to 0 dB, or clean; the headline and transcripts show it."""
    noisy = [noise for noise in results.noises if noise[0] != CLEAN]
    if not noisy:
        return results.noises[0]
    return min((noise for noise in noisy if noise[0] == noisy[0][0]), key=lambda noise: abs(noise[1] or 0.0))


def headline_rows(results: Results) -> list[tuple[System, ConditionResult, ConditionResult | None]]:
    """Return every system with its row in the telling noise, and its clean row if that is another one."""
    telling, clean = telling_noise(results), (CLEAN, None)
    rows = {(row.modality, row.model, row.noise, row.snr_db): row for row in results.rows_of(results.languages[0])}
    return [
        (system, row, None if telling == clean else rows.get((*system, *clean)))
        for system in results.systems
        if (row := rows.get((*system, *telling))) is not None
    ]


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
    several = len({row.model for row in results.conditions}) > 1
    return f"{system[0]} ({system[1]})" if several else system[0]
