"""Prepare a corpus for training: from its published files to shards, a tokenizer and a report.

    python -m data_prep.prepare lrs3 data/lrs3_raw data/lrs3 --workers 8
    python -m data_prep.prepare muavic data/muavic_raw data/muavic --reader '[--languages=[es,fr]]' \
        --compare '[data/lrs3/shards/train]'

Reads   a corpus as a module of data_prep/corpora/ knows it: its name, and the root of its files.
Writes  OUT/corpus/<split>.jsonl      what the corpus reader found
        OUT/lips/<id>.mp4             mouth clips, and OUT/cut/<split>.jsonl
        OUT/checked/<split>.jsonl     clips with lips and sound (check_clips.py)
        OUT/shards/<split>/           shards: what training reads; all before may be deleted then
        OUT/tokenizer.json            from the texts of the training set
        OUT/losses.jsonl              whatever was left out at any stage, with the reason
        OUT/report.html, report.json  hours, speakers, languages, lengths, losses; what occurs in two sets
        OUT/steps.json, OUT/logs      what each step was made from, its time and memory.
Stop it and start it again, also by kill -9: finished steps are skipped, clips and shards are kept, and the result has
the same bytes. A change of the command is refused for steps that it concerns.
"""

import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import auto_cli

from avspeech.files import make_folder
from avspeech.manifest import read_manifest
from data_prep.corpus_report import REPORT, report_corpus
from data_prep.pipeline import RecipeError, Step, StepError, run_steps

CORPORA = Path(__file__).with_name("corpora")
MANNER = ("workers", "timeout_s", "safe_decoding")
"""Options of the commands that do not change the result."""
LOSSES = "losses.jsonl"


@dataclass(frozen=True)
class Plan:
    """The commands of a preparation; lists are more arguments of one of them."""

    corpus: str
    root: Path
    out: Path
    workers: int
    reader: tuple[str, ...]
    lips: tuple[str, ...]
    checks: tuple[str, ...]
    shards: tuple[str, ...]
    tokenizer: tuple[str, ...]

    def steps(self) -> Iterator[Step]:
        """Yield the steps in order; those after the first depend on what it found."""
        out = self.out
        command = ["-m", f"data_prep.corpora.{self.corpus}", str(self.root), f"{out}/corpus", *self.reader]
        yield Step("read the corpus", {"read": command}, [out / "corpus" / LOSSES])
        splits = splits_of(out)
        for split in splits:
            cut = out / f"cut/{split}.jsonl"
            options = [f"--out_manifest={cut}", "--max_failed=1", *self._cropped(split), *self.lips]
            arguments = [f"{out}/corpus/{split}.jsonl", f"{out}/lips", f"--workers={self.workers}", *options]
            yield _step(f"cut the lips: {split}", "extract_rois", arguments, [cut])
        for split in splits:
            checked = out / f"checked/{split}.jsonl"
            yield _step(
                f"check: {split}", "check_clips", [f"{out}/cut/{split}.jsonl", str(checked), *self.checks], [checked]
            )
        splits = [split for split in splits if (out / f"checked/{split}.jsonl").stat().st_size]
        for split in splits:
            folder = out / "shards" / split
            options = [f"--workers={self.workers}", "--max_failed=1", *self.shards]
            arguments = [f"{out}/checked/{split}.jsonl", str(folder), *options]
            makes = [folder / "index.arrow", folder / "failures.jsonl"]
            yield _step(f"write shards: {split}", "write_shards", arguments, makes)
        training = next((split for split in ("train", "all") if split in splits), splits[0] if splits else "")
        if not training or not any(one.text for one in read_manifest(out / f"checked/{training}.jsonl")):
            print("no tokenizer: no clip to train it on has a text")
            return
        arguments = [f"{out}/checked/{training}.jsonl", f"{out}/tokenizer.json", *self.tokenizer]
        yield _step("train the tokenizer", "train_tokenizer", arguments, [out / "tokenizer.json"])

    def _cropped(self, split: str) -> list[str]:
        """Return options for clips that are cut already. RecipeError if only some are."""
        clips = read_manifest(self.out / f"corpus/{split}.jsonl")
        cut = [one for one in clips if one.mouth is not None]
        if len(cut) not in (0, len(clips)):
            raise RecipeError(f"{len(cut)} of {len(clips)} clips of {split} have a mouth clip; wanted all or none")
        crops = {one.crop for one in cut if one.crop}
        return ["--already_cropped=true", *(f"--roi.alignment={crop}" for crop in sorted(crops)[:1])] if cut else []


def splits_of(out: Path) -> list[str]:
    """Return the splits that the corpus reader found."""
    return [path.stem for path in sorted((out / "corpus").glob("*.jsonl")) if path.name != LOSSES]


def _step(name: str, script: str, arguments: list[str], makes: list[Path]) -> Step:
    log = name.replace(": ", "_").replace(" ", "_")
    return Step(name, {log: ["-m", f"data_prep.{script}", *arguments]}, makes, may_change=MANNER)


def check_corpus(name: str) -> str:
    """Return the licence of a corpus. RecipeError if there is no reader for it."""
    known = [path.stem for path in sorted(CORPORA.glob("*.py")) if "\ndef read(" in path.read_text(encoding="utf-8")]
    if name not in known:
        raise RecipeError(f"corpus {name!r} came, wanted one of {', '.join(known)}; see data_prep/corpora/")
    return importlib.import_module(f"data_prep.corpora.{name}").LICENCE


def main(
    corpus: str,
    root: Path,
    out: Path,
    reader: tuple[str, ...] = (),
    lips: tuple[str, ...] = (),
    checks: tuple[str, ...] = (),
    shards: tuple[str, ...] = (),
    tokenizer: tuple[str, ...] = (),
    compare: tuple[Path, ...] = (),
    workers: int = 2,
    max_failed: float = 0.1,
) -> None:
    """Prepare a corpus.

    Args:
        corpus: name of a module of data_prep/corpora/, such as lrs3, muavic or folder.
        root: folder of the corpus.
        out: folder of everything that is made.
        reader: more arguments of the corpus reader, such as '[--pictures=raw]'.
        lips: more arguments of extract_rois.
        checks: more arguments of check_clips.
        shards: more arguments of write_shards, such as '[--profile=small]'.
        tokenizer: more arguments of train_tokenizer.
        compare: manifests, or folders of shards, of other corpora, to look for the same speakers, ids and texts.
        workers: processes.
        max_failed: share of the clips, of those that the reader found, beyond whose loss the exit status is 1.
    """
    try:
        licence = check_corpus(corpus)
        make_folder(out, "out")
        out = out.resolve()
        plan = Plan(corpus, root.resolve(), out, workers, reader, lips, checks, shards, tokenizer)
        run_steps(out, plan.steps())
        facts = report_corpus(out, splits_of(out), corpus, licence, compare)
    except (ValueError, RecipeError, StepError) as error:  # a user's mistake ends with its message alone
        sys.exit(str(error))
    for line in facts.summary():
        print(line)
    print(f"open {out / REPORT}")
    if facts.lost_share > max_failed:
        sys.exit(f"{facts.lost_share:.1%} of the clips were lost, more than {max_failed:.0%}: see {out / LOSSES}")


if __name__ == "__main__":
    auto_cli(main)
