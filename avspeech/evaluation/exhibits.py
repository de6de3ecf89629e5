"""Worst utterances as they were heard and seen: sound and lips beside the results, for the report to embed.

``write_exhibits`` writes ``<out_dir>/exhibits/``: for each utterance its clean sound, the sound that the model heard
(MP3, which Chromium, Firefox and Safari all play, in a tenth of a wav file's bytes; the model heard the same
samples uncompressed) and the mouth clip that it saw (H.264), and ``exhibits.json``, a list of what ``Exhibit`` holds.
The folder appears only when it is whole. Reports of several evaluations show those of all (``merge_exhibits``).
"""

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import zip_longest
from pathlib import Path

import av
import av.container
import numpy as np

from avspeech.evaluation.comparison import System, systems_of, telling_noise
from avspeech.evaluation.conditions import CLEAN, OWN, Condition
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.results import Results, ScoredHypothesis
from avspeech.files import write_text
from avspeech.manifest import Utterance
from avspeech.media.errors import MediaError
from avspeech.media.video import write_video
from avspeech.noise.plan import PlanError
from avspeech.text.normalize import normalize_for_scoring, text_language
from avspeech.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)

FOLDER, LISTING = "exhibits", "exhibits.json"
MAX_BYTES = 1_200_000
"""Of all sounds and clips together, so that a report with plots stays below 3 MB (base64 adds a third)."""
BIT_RATE = 64_000
"""Of MP3. Noise is hard to compress: at 32 kbit/s babble begins to gurgle."""
CLIP_CRF = 23


@dataclass(frozen=True)
class Worst:
    """An utterance that a system got wrong."""

    id: str
    model: str
    modality: str
    noise: str
    snr_db: float | None
    errors: int
    num_words: int
    wrong_in: int
    """Conditions of this model, with whatever is heard and seen, in which it has errors."""
    decoded_in: int


@dataclass(frozen=True)
class Exhibit(Worst):
    """The same with files, relative to the folder; None where there is none."""

    clean: str | None = None
    heard: str | None = None
    seen: str | None = None

    @property
    def files(self) -> list[str]:
        return [name for name in (self.clean, self.heard, self.seen) if name is not None]

    @property
    def condition(self) -> Condition:
        return Condition(self.modality, self.noise, self.snr_db)


def main_system(results: Results) -> System | None:
    """Return the system whose errors are shown: the first with most streams; None where there are no transcripts."""
    decoded = {(line.modality, line.model) for line in results.hypotheses if line.video_stream == OWN}
    return max((one for one in systems_of(results) if one in decoded), key=lambda one: len(one[0]), default=None)


def choose_worst(results: Results, count: int) -> list[Worst]:
    """Return the utterances with the most errors a word of the main system in the telling noise, the worst first.

    Ties go by id. Utterances without errors are left out, so there may be fewer.

    Args:
        results: with hypotheses.
        count: utterances at most.
    """
    system = main_system(results)
    if system is None:
        return []
    condition, run = Condition(system[0], *telling_noise(results)), results.runs[0]
    mine = [line for line in results.hypotheses if line.model == system[1]]
    by_id: dict[str, list[ScoredHypothesis]] = {}
    for line in mine:
        by_id.setdefault(line.id, []).append(line)
    wrong = []
    for line in mine:
        if line.condition == condition.decoded_as and line.errors:
            others = by_id[line.id]
            language = text_language(line.language, run.get("task"))
            words = len(normalize_for_scoring(line.reference, language, run["normalization"]).split())
            wrong.append(
                Worst(
                    line.id, line.model, line.modality, condition.noise, condition.snr_db, line.errors, words,
                    wrong_in=sum(other.errors > 0 for other in others), decoded_in=len(others),
                )
            )  # fmt: skip
    return sorted(wrong, key=lambda one: (-one.errors / max(one.num_words, 1), one.id))[:count]


def write_exhibits(
    out_dir: str | Path,
    results: Results,
    utterances: Sequence[Utterance],
    loader: ConditionLoader,
    count: int = 6,
    max_bytes: int = MAX_BYTES,
) -> list[Exhibit]:
    """Write the sounds and clips of the worst utterances into ``out_dir/exhibits``; return what was written.

    What is there from before is replaced. Nothing is decoded. An utterance whose files are gone, or are not what the
    noise plan says, is left out with a warning, and so is one that would go over ``max_bytes``.

    Args:
        out_dir: folder of the results.
        results: with hypotheses.
        utterances: the test set.
        loader: gives what is heard and seen.
        count: utterances at most.
        max_bytes: of all files together.
    """
    folder = Path(out_dir) / FOLDER
    unfinished = folder.with_name(f"{FOLDER}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    by_id = {utterance.id: utterance for utterance in utterances}
    written: list[Exhibit] = []
    free = max_bytes
    for worst in choose_worst(results, count):
        try:
            exhibit = _write_one(unfinished, len(written), worst, by_id[worst.id], loader)
        except (MediaError, PlanError) as error:
            log.warning("%s is not shown in the report: %s", worst.id, error)
            continue
        size = sum((unfinished / name).stat().st_size for name in exhibit.files)
        if size > free:
            log.warning("%s is not shown in the report: %d bytes, and %d are left", worst.id, size, free)
            for name in exhibit.files:
                (unfinished / name).unlink()
            continue
        free -= size
        written.append(exhibit)
    _finish(unfinished, folder, written)
    return written


def _write_one(folder: Path, number: int, worst: Worst, utterance: Utterance, loader: ConditionLoader) -> Exhibit:
    condition = Condition(worst.modality, worst.noise, worst.snr_db)
    clean = heard = seen = None
    if utterance.audio is not None:  # also for lips alone: people want to hear what was said
        clean = f"{number}_clean.mp3"
        write_mp3(folder / clean, loader.heard(utterance, Condition("audio")))
        if condition.keeps_audio and worst.noise != CLEAN:
            heard = f"{number}_heard.mp3"
            write_mp3(folder / heard, loader.heard(utterance, condition))
    if condition.keeps_video:
        seen = f"{number}_seen.mp4"
        write_video(folder / seen, _even(loader.shown(utterance, condition)), crf=CLIP_CRF)
    return Exhibit(**asdict(worst), clean=clean, heard=heard, seen=seen)


def _even(mouth_THW: np.ndarray) -> np.ndarray:
    """H.264 halves the colour planes, so height and width must be even; an odd clip loses a line."""
    return mouth_THW[:, : mouth_THW.shape[1] // 2 * 2, : mouth_THW.shape[2] // 2 * 2]


def write_mp3(path: str | Path, audio_S: np.ndarray) -> None:
    """Write ``audio_S`` (float, mono at 16 kHz) as MP3; values outside [-1, 1] are clipped.

    The same input gives the same bytes.
    """
    with av.open(str(path), "w", format="mp3") as container:
        container.flags = av.container.Flags.bitexact.value
        stream = container.add_stream("libmp3lame", SAMPLE_RATE, layout="mono", format="fltp")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(np.clip(audio_S, -1, 1)[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_exhibits(folder: Path) -> list[Exhibit]:
    """Return the exhibits that lie beside results; none where none were written.

    Raises:
        ValueError: the listing cannot be read, or names a file that is not there.
    """
    path = folder / FOLDER / LISTING
    if not path.is_file():
        return []
    try:
        exhibits = [Exhibit(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); evaluate again, or delete its folder") from error
    for name in (name for exhibit in exhibits for name in exhibit.files):
        if not (path.parent / name).is_file():
            raise ValueError(f"{path} names {name}, which is not beside it; evaluate again, or delete the folder")
    return exhibits


def merge_exhibits(
    folders: Sequence[Path], out_dir: Path, results: Results, max_bytes: int = MAX_BYTES
) -> list[Exhibit]:
    """Copy the exhibits of several results to ``out_dir/exhibits``, the worst of each first; return what is there.

    The first folder's worst, the second's, the first's second worst and so on while they fit. One that another folder
    has in the same noise, or whose system has no rows in ``results``, is left out.

    Args:
        folders: of the results; if ``out_dir`` is the only one, nothing is copied.
        out_dir: of the report.
        results: merged.
        max_bytes: of all files together.

    Raises:
        ValueError: see ``read_exhibits``.
    """
    if [folder.resolve() for folder in folders] == [out_dir.resolve()]:
        return read_exhibits(out_dir)
    target = out_dir / FOLDER
    unfinished = target.with_name(f"{FOLDER}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    systems, free, seen = systems_of(results), max_bytes, set()
    kept: list[Exhibit] = []
    offered = [[(folder, one) for one in read_exhibits(folder)] for folder in folders]
    for folder, exhibit in (one for turn in zip_longest(*offered) for one in turn if one is not None):
        size = sum((folder / FOLDER / name).stat().st_size for name in exhibit.files)
        key = (exhibit.id, exhibit.noise, exhibit.snr_db)
        if (exhibit.modality, exhibit.model) not in systems or key in seen or size > free:
            continue
        seen.add(key)
        free -= size
        names = {}
        for kind in ("clean", "heard", "seen"):
            name = getattr(exhibit, kind)
            names[kind] = name and f"{len(kept)}_{kind}{Path(name).suffix}"
            if name:
                shutil.copyfile(folder / FOLDER / name, unfinished / names[kind])
        kept.append(Exhibit(**{**asdict(exhibit), **names}))
    _finish(unfinished, target, kept)
    return kept


def _finish(unfinished: Path, folder: Path, exhibits: Sequence[Exhibit]) -> None:
    """Put the whole folder in its place; without exhibits there is none."""
    shutil.rmtree(folder, ignore_errors=True)
    if not exhibits:
        shutil.rmtree(unfinished)
        return
    listing = [asdict(exhibit) for exhibit in exhibits]
    write_text(unfinished / LISTING, json.dumps(listing, indent=2, ensure_ascii=False) + "\n")
    unfinished.rename(folder)
