"""Give every frame of every clip the number of its nearest centroid: the targets of masked prediction.

    python data_prep/assign_units.py data/grid/train.jsonl runs/units/mfcc100.safetensors data/grid/train.km

Reads   Utterance lines (avspeech/data/manifest.py), their streams, a codebook and the model that it was made with.
Writes  OUT.km, one line of units per utterance in the manifest's order (AV-HuBERT's format), and OUT.km.failures.jsonl.
        A clip that cannot be read keeps its place as an empty line, which training takes as "no targets".
Stop it and start it again: it starts over; OUT.km appears only when whole.

Prints how much the units tell about the words (avspeech/units/quality.py) where the manifest has word times.
"""

from pathlib import Path
from typing import Literal

from jsonargparse import auto_cli

from avspeech.data.manifest import Utterance, read_manifest
from avspeech.units.kmeans import Codebook
from avspeech.units.quality import frame_labels, unit_quality
from data_prep.dump_features import extract_each, make_extractor, needed_fields, report_failures


def thin_out(units: list[int], rate: int, wanted: int) -> list[int]:
    """Return units at a lower rate: AV-HuBERT takes the unit at 4 t for frame t, without any pooling.

    Raises:
        ValueError: the wanted rate is no whole fraction of the codebook's.
    """
    if rate % wanted:
        raise ValueError(f"--rate {wanted} came, and the codebook has {rate} Hz; fit one with --rate {wanted}")
    return units[:: rate // wanted]


def print_quality(utterances: list[Utterance], units: list[list[int]], rate: int) -> None:
    """Print PNMI and purities against words, silence counting as a word, if any clip has word times."""
    timed = [
        (utterance.words, row) for utterance, row in zip(utterances, units, strict=True) if utterance.words and row
    ]
    if not timed:
        return
    labels = [
        frame_labels([(word.text, word.start_s, word.end_s) for word in words], len(row), rate) for words, row in timed
    ]
    quality = unit_quality([row for _, row in timed], labels)
    print(
        f"against words, over {quality.num_frames} frames of {len(timed)} clips: PNMI {quality.pnmi:.3f}, "
        f"word purity {quality.label_purity:.3f}, cluster purity {quality.cluster_purity:.3f}"
    )


def main(
    manifest: Path,
    codebook: Path,
    out: Path,
    rate: Literal[25, 100] | None = None,
    model: Path | None = None,
    device: str = "cpu",
    max_failed: float = 0.02,
) -> None:
    """Assign units.

    Args:
        manifest: JSON lines, one Utterance each.
        codebook: from fit_units.py.
        out: the .km file to write.
        rate: units per second; null keeps the codebook's, 25 takes every fourth unit of a codebook at 100 Hz.
        model: the model file that the codebook's features came from; MFCCs need none.
        device: where the encoder runs.
        max_failed: share of failures beyond which the exit status is 1.
    """
    book = Codebook.load(codebook)
    features = dict(book.features)
    wanted = rate or features["rate"]
    thin_out([], features["rate"], wanted)  # refuse before the work, not after it
    utterances = read_manifest(manifest, require=needed_fields(features))
    units: list[list[int]] = []
    failures: list[tuple[str, str]] = []
    for utterance, vectors_TF, why in extract_each(utterances, make_extractor(features, model, device)):
        if vectors_TF is None:
            failures.append((utterance.id, why))
            units.append([])
        else:
            units.append(thin_out(book.assign(vectors_TF).tolist(), features["rate"], wanted))
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(out.name + ".part")
    unfinished.write_text("".join(" ".join(map(str, row)) + "\n" for row in units), encoding="ascii")
    unfinished.rename(out)
    used = len({unit for row in units for unit in row})
    print(
        f"{len(units) - len(failures)} of {len(units)} clips at {wanted} Hz in {out}; "
        f"{used} of {book.num_units} units used"
    )
    print_quality(utterances, units, wanted)
    report_failures(out.with_name(out.name + ".failures.jsonl"), failures, len(units), max_failed)


if __name__ == "__main__":
    auto_cli(main)
