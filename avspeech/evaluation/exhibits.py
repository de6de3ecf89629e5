"""Sounds and crops of the worst utterances, for the report to embed.

``<out_dir>/exhibits/`` has, for each utterance, the clean sound and the model's audio input (MP3: all browsers play
it, a tenth of the size of wav), the mouth crops (H.264), and ``exhibits.json``, a list of ``Exhibit``.
"""

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from pathlib import Path

import av
import av.container
import numpy as np

from avspeech.evaluation.conditions import OWN, Condition
from avspeech.evaluation.loading import ConditionLoader
from avspeech.evaluation.results import Results
from avspeech.evaluation.tables import telling_noise
from avspeech.files import write_json, written_whole
from avspeech.manifest import Utterance
from avspeech.media.errors import MediaError
from avspeech.media.video import write_video
from avspeech.noise.plan import PlanError
from avspeech.timebase import SAMPLE_RATE

log = logging.getLogger(__name__)

FOLDER, LISTING = "exhibits", "exhibits.json"
KINDS = ("clean", "heard", "seen")
MAX_BYTES = 1_200_000  # of all sounds and clips, so that a report stays below 3 MB (base64 adds a third)
COUNT = 6
BIT_RATE = 64_000  # bit/s of MP3; at 32 kbit/s babble gurgles
CLIP_CRF = 23


@dataclass(frozen=True)
class Exhibit:
    """An utterance, wrong in ``wrong_in`` of ``decoded_in`` conditions of a model, and its files or None."""

    id: str
    model: str
    modality: str
    noise: str
    snr_db: float | None
    errors: int
    num_words: int
    wrong_in: int
    decoded_in: int
    clean: str | None = None
    heard: str | None = None
    seen: str | None = None

    @property
    def files(self) -> dict[str, str]:
        return {kind: name for kind in KINDS if (name := getattr(self, kind)) is not None}

    @property
    def condition(self) -> Condition:
        return Condition(self.modality, self.noise, self.snr_db)


Offer = tuple[Exhibit, Callable[[Path, int], Exhibit]]
"""An exhibit, and the function (folder, number of its files) that writes it."""


def choose_worst(results: Results, count: int) -> list[Exhibit]:
    """Return the utterances with the most errors per word of the first ``audio+video`` system, worst first."""
    decoded = {(line.modality, line.model) for line in results.hypotheses if line.video_stream == OWN}
    system = max((one for one in results.systems if one in decoded), key=lambda one: len(one[0]), default=None)
    if system is None:
        return []
    condition, model = Condition(system[0], *telling_noise(results)), system[1]
    mine = [line for line in results.hypotheses if line.model == model]
    decoded_in, wrong_in = Counter(line.id for line in mine), Counter(line.id for line in mine if line.errors)
    place = model, condition.modality, condition.noise, condition.snr_db
    wrong = [
        Exhibit(line.id, *place, line.errors, line.n_words, wrong_in[line.id], decoded_in[line.id])
        for line in results.lines_of(model, condition).values()
        if line.errors
    ]
    return sorted(wrong, key=lambda one: (-one.errors / max(one.num_words, 1), one.id))[:count]


def write_exhibits(
    out_dir: Path,
    results: Results,
    utterances: Sequence[Utterance],
    loader: ConditionLoader,
    max_bytes: int = MAX_BYTES,
) -> list[Exhibit]:
    """Replace ``out_dir/exhibits`` by the worst utterances that can be read and fit; return them."""
    by_id = {utterance.id: utterance for utterance in utterances}
    worst = choose_worst(results, COUNT)
    return _fill(out_dir, [(one, partial(_write_one, one, by_id[one.id], loader)) for one in worst], max_bytes)


def _fill(out_dir: Path, offered: Iterable[Offer], max_bytes: int) -> list[Exhibit]:
    kept: list[Exhibit] = []
    target = out_dir / FOLDER
    with written_whole(target) as folder:
        folder.mkdir()
        for one, write in offered:
            try:
                exhibit = write(folder, len(kept))
                size = sum((folder / name).stat().st_size for name in exhibit.files.values())
                if size > max_bytes:
                    raise MediaError("its files", f"{size} bytes came, at most {max_bytes} fit")
                max_bytes -= size
                kept.append(exhibit)
            except (MediaError, PlanError) as error:
                log.warning("%s is not shown in the report: %s", one.id, error)
                for path in folder.glob(f"{len(kept)}_*"):
                    path.unlink()
        write_json(folder / LISTING, [asdict(exhibit) for exhibit in kept], indent=2)
        shutil.rmtree(target, ignore_errors=True)
    if not kept:
        shutil.rmtree(target)
    return kept


def _write_one(worst: Exhibit, utterance: Utterance, loader: ConditionLoader, folder: Path, number: int) -> Exhibit:
    condition, names = worst.condition, {}
    sounds = {"clean": Condition("audio")}  # also for video alone, to hear what was spoken
    if condition.keeps_audio and not condition.is_clean:
        sounds["heard"] = condition
    for kind, heard in sounds.items() if utterance.audio is not None else ():
        names[kind] = f"{number}_{kind}.mp3"
        write_mp3(folder / names[kind], loader.heard(utterance, heard))
    if condition.keeps_video:
        names["seen"] = f"{number}_seen.mp4"
        mouth_THW = loader.shown(utterance, condition)
        even_THW = mouth_THW[:, : mouth_THW.shape[1] // 2 * 2, : mouth_THW.shape[2] // 2 * 2]  # H.264 halves colours
        write_video(folder / names["seen"], even_THW, crf=CLIP_CRF)
    return replace(worst, **names)


def write_mp3(path: str | Path, audio_S: np.ndarray) -> None:
    """Write ``audio_S`` (float, mono, 16 kHz, clipped to [-1, 1]) as MP3, byte-reproducible."""
    with av.open(str(path), "w", format="mp3") as container:
        container.flags = av.container.Flags.bitexact.value
        stream = container.add_stream("libmp3lame", SAMPLE_RATE, layout="mono", format="fltp")
        stream.bit_rate = BIT_RATE
        frame = av.AudioFrame.from_ndarray(np.clip(audio_S, -1, 1)[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate, frame.time_base, frame.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def read_exhibits(folder: Path) -> list[Exhibit]:
    """Return the exhibits of a results folder; ``ValueError``: a broken listing or a missing file."""
    path = folder / FOLDER / LISTING
    if not path.is_file():
        return []
    try:
        exhibits = [Exhibit(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); evaluate again, or delete its folder") from error
    for name in (name for exhibit in exhibits for name in exhibit.files.values()):
        if not (path.parent / name).is_file():
            raise ValueError(f"{path} names {name}, which is not beside it; evaluate again, or delete the folder")
    return exhibits


def merge_exhibits(
    folders: Sequence[Path], out_dir: Path, results: Results, max_bytes: int = MAX_BYTES
) -> list[Exhibit]:
    """Copy the folders' exhibits in turn, worst first, once each, to ``out_dir``, unless it is the only folder."""
    if [folder.resolve() for folder in folders] == [out_dir.resolve()]:
        return read_exhibits(out_dir)
    turns = zip_longest(*([(folder, one) for one in read_exhibits(folder)] for folder in folders))
    offered: dict[tuple, Offer] = {}
    for folder, one in (entry for turn in turns for entry in turn if entry is not None):
        if (one.modality, one.model) in results.systems:
            offered.setdefault((one.id, one.noise, one.snr_db), (one, partial(_copy_one, one, folder / FOLDER)))
    return _fill(out_dir, offered.values(), max_bytes)


def _copy_one(exhibit: Exhibit, source: Path, folder: Path, number: int) -> Exhibit:
    names = {kind: f"{number}_{kind}{Path(name).suffix}" for kind, name in exhibit.files.items()}
    for kind, name in exhibit.files.items():
        shutil.copyfile(source / name, folder / names[kind])
    return replace(exhibit, **names)
