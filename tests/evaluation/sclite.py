"""NIST's sclite where it is installed (Debian: sctk), and its summary as numbers."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

_FOUND = [tool for tool in ("sclite", "sctk") if shutil.which(tool)]
SCLITE = {"sclite": ["sclite"], "sctk": ["sctk", "sclite"]}.get(_FOUND[0], []) if _FOUND else []
needs_sclite = pytest.mark.skipif(not SCLITE, reason="sclite is not installed: apt-get install sctk")


class Sums(NamedTuple):
    """What the report says of all speakers together, and who they are."""

    num_texts: int
    num_words: int
    substitutions: int
    deletions: int
    insertions: int
    speakers: tuple[str, ...]

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def run_sclite(arguments: Sequence[str | Path], hypotheses: Path) -> Sums:
    """Run it with ``-o rsum`` among the arguments and read ``<hypotheses>.raw``."""
    subprocess.run([*SCLITE, *arguments], check=True, capture_output=True)
    rows = {}
    for line in hypotheses.with_name(hypotheses.name + ".raw").read_text().splitlines():
        name, *numbers = line.replace("|", " ").split() or [""]
        if len(numbers) == 8 and all(number.isdigit() for number in numbers):
            rows[name] = [int(number) for number in numbers]
    num_texts, num_words, _, substitutions, deletions, insertions, _, _ = rows.pop("Sum")
    return Sums(num_texts, num_words, substitutions, deletions, insertions, tuple(rows))
