"""Word and character errors between a reference and a hypothesis, as counts that can be added up.

Rates are corpus level: all errors over all reference words (NIST; AV-HuBERT, arXiv:2201.02184). Alignments are jiwer's:
Levenshtein with cost 1 for each error. Normalise texts first (``avspeech.text.normalize``). Any white space separates
words; jiwer takes a lone no-break space or tab for a letter, otherwise it agrees to the digit.

Without reference words the rate is the number of insertions, as in jiwer 4.

sclite 2.10 costs substitutions 4, deletions and insertions 3. Measured: equal on 584 wrong transcripts of real models,
within 0.1 point on 5,000 random texts, up to 0.6 points more on unrelated texts; by its costs at most a third more.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import jiwer

from avspeech.text.normalize import normalize_for_scoring


@dataclass(frozen=True)
class ErrorCounts:
    """Errors of one or more utterances, added by ``a + b`` or ``sum(counts, ErrorCounts())``."""

    num_words: int = 0
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    num_characters: int = 0
    """Characters of the reference, spaces between words included."""
    character_errors: int = 0

    @property
    def word_errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Word error rate as a fraction, may exceed 1."""
        return self.word_errors / max(self.num_words, 1)

    @property
    def cer(self) -> float:
        """Character error rate as a fraction."""
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
    """Return the errors of ``hypothesis``; runs of white space count as one space, at the ends as none."""
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
    """Return the word alignment, one ``Edit`` a word."""
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
    """Return the errors after both texts are normalised by ``rule``."""
    return count_errors(
        normalize_for_scoring(reference, language, rule), normalize_for_scoring(hypothesis, language, rule)
    )
