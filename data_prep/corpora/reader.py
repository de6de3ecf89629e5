"""What a corpus reader returns: utterances by split, and all that it left out with the reason."""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from avspeech.files import write_lines
from avspeech.manifest import Utterance, write_manifest


@dataclass(frozen=True)
class Loss:
    """A clip, file or line that gives no utterance."""

    what: str
    """Path or id; "FILE, line N" for a line."""
    reason: str
    """The same few words for all of a kind, such as "missing video"; reports count by it."""
    detail: str = ""
    """What came, and what was wanted."""

    def __str__(self) -> str:
        return f"{self.what}: {self.reason}{self.detail and f': {self.detail}'}"


@dataclass(frozen=True)
class Corpus:
    """A corpus as it was read."""

    name: str
    """Value of ``Utterance.corpus``."""
    licence: str
    """Which licence or agreement the user must have."""
    splits: dict[str, list[Utterance]] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a user must know, such as how a split without an official list was made."""


def run(read: Callable[[], Corpus], root: Path, out_dir: Path) -> None:
    """Read a corpus and write it; end the program with a message if ``read`` raises a ValueError."""
    try:
        corpus = read()
    except ValueError as error:
        sys.exit(str(error))
    write_corpus(corpus, root, out_dir)


def write_corpus(corpus: Corpus, root: Path, out_dir: Path) -> None:
    """Write OUT/<split>.jsonl and OUT/losses.jsonl, and print what was found and lost.

    Ends the program with a message if the corpus has no utterance.
    """
    print(f"{corpus.name}: {corpus.licence}")
    for note in corpus.notes:
        print(note)
    for split, utterances in corpus.splits.items():
        if utterances:
            write_manifest(out_dir / f"{split}.jsonl", utterances)
            print(f"{len(utterances)} utterances in {out_dir / split}.jsonl")
    write_lines(out_dir / "losses.jsonl", (asdict(loss) for loss in corpus.losses))
    for reason, count in Counter(loss.reason for loss in corpus.losses).most_common():
        print(f"left out: {count} for {reason}; see {out_dir / 'losses.jsonl'}", file=sys.stderr)
    if not any(corpus.splits.values()):
        first = f"; first: {corpus.losses[0]}" if corpus.losses else ""
        sys.exit(f"no utterance of {corpus.name} below {root}{first}")
