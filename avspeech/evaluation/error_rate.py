"""Word and character errors between a reference and a hypothesis, as counts that can be added up.

Rates are corpus level: errors of all utterances over reference words of all utterances (NIST's rule; AV-HuBERT,
arXiv:2201.02184, does the same). Alignments are jiwer's: Levenshtein, each substitution, deletion and insertion costs
1. Texts are compared as they come: normalise first (``avspeech.text.normalize``).

An empty hypothesis is a deletion of every reference word. With an empty reference every hypothesis word is an
insertion; in a corpus it counts over the words of the other utterances. If no utterance has a reference word, the rate
is the number of insertions. jiwer 4 does the same.

White space of any kind separates words (``str.split``). jiwer agrees to the digit, except that it takes a lone no-break
space, tab or the like for a letter. NIST's sclite costs substitutions 4, deletions and insertions 3; it never finds
fewer errors than we do, and at most a third more. Tested against sclite 2.10: the same number of errors in 584 wrong
transcripts of real models; within 0.1 point on 5,000 random texts with errors; up to 0.6 points more for ten-word
texts that have nothing in common.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import jiwer

from avspeech.text.normalize import normalize_for_scoring


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of one utterance, or of many: ``a + b`` and ``sum(counts, ErrorCounts())`` add up."""

    num_words: int = 0
    """Words of the reference."""
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    num_characters: int = 0
    """Characters of the reference; the space between two words is one."""
    character_errors: int = 0

    @property
    def word_errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Word error rate as a fraction, may exceed 1; without reference words the number of insertions."""
        return self.word_errors / max(self.num_words, 1)

    @property
    def cer(self) -> float:
        """Character error rate as a fraction, under the same rules as ``wer``."""
        return self.character_errors / max(self.num_characters, 1)

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            num_words=self.num_words + other.num_words,
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            num_characters=self.num_characters + other.num_characters,
            character_errors=self.character_errors + other.character_errors,
        )


def count_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Return the errors of ``hypothesis``; a run of white space counts as one space, at the ends as none."""
    reference, hypothesis = " ".join(reference.split()), " ".join(hypothesis.split())
    words = jiwer.process_words(reference, hypothesis)
    characters = jiwer.process_characters(reference, hypothesis)
    return ErrorCounts(
        num_words=len(reference.split()),
        substitutions=words.substitutions,
        deletions=words.deletions,
        insertions=words.insertions,
        num_characters=len(reference),
        character_errors=characters.substitutions + characters.deletions + characters.insertions,
    )


def total(counts: Iterable[ErrorCounts]) -> ErrorCounts:
    """Return the corpus-level counts of many utterances."""
    return sum(counts, ErrorCounts())


@dataclass(frozen=True)
class Edit:
    """One step of an alignment: ``kind`` is equal, substitute, delete or insert; a missing side is ""."""

    kind: str
    reference: str
    hypothesis: str


def align_words(reference: str, hypothesis: str) -> list[Edit]:
    """Return the word alignment from left to right, one ``Edit`` a word."""
    words = jiwer.process_words(" ".join(reference.split()), " ".join(hypothesis.split()))
    reference_words, hypothesis_words = reference.split(), hypothesis.split()
    edits = []
    for chunk in words.alignments[0]:
        spoken = reference_words[chunk.ref_start_idx : chunk.ref_end_idx]
        heard = hypothesis_words[chunk.hyp_start_idx : chunk.hyp_end_idx]
        for index in range(max(len(spoken), len(heard))):
            edits.append(Edit(chunk.type, _at(spoken, index), _at(heard, index)))
    return edits


def _at(words: list[str], index: int) -> str:
    return words[index] if index < len(words) else ""


def count_normalized(reference: str, hypothesis: str, language: str, rule: str) -> ErrorCounts:
    """Return the errors after both texts went through the same normalisation."""
    return count_errors(
        normalize_for_scoring(reference, language, rule), normalize_for_scoring(hypothesis, language, rule)
    )
