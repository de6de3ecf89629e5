"""Word and character errors between a reference and a hypothesis, as counts that can be added up.

Rates are corpus level: all errors over all reference words (NIST; AV-HuBERT, arXiv:2201.02184), or the number of
insertions without reference words, as in jiwer 4. Alignments are jiwer's: Levenshtein with cost 1 for each error.
Unlike jiwer, any white space separates words.

sclite 2.10 costs substitutions 4, deletions and insertions 3. Measured: equal on 584 wrong transcripts of real models,
within 0.1 point on 5,000 random texts, up to 0.6 points more on unrelated texts; by its costs at most a third more.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

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
        return self.word_errors / max(self.num_words, 1)

    @property
    def cer(self) -> float:
        return self.character_errors / max(self.num_characters, 1)

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(*map(sum, zip(vars(self).values(), vars(other).values(), strict=True)))


def count_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Return the word and character errors of ``hypothesis``; white space is collapsed and stripped."""
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
    return sum(counts, ErrorCounts())


@dataclass(frozen=True)
class Edit:
    """One step of an alignment: ``kind`` is equal, substitute, delete or insert; a missing side is ""."""

    kind: str
    reference: str
    hypothesis: str


def align_words(reference: str, hypothesis: str) -> list[Edit]:
    """Return the word alignment, one ``Edit`` a word."""
    spoken, heard = reference.split(), hypothesis.split()
    edits = []
    for chunk in jiwer.process_words(" ".join(spoken), " ".join(heard)).alignments[0]:
        sides = spoken[chunk.ref_start_idx : chunk.ref_end_idx], heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
        edits += [Edit(chunk.type, *pair) for pair in zip_longest(*sides, fillvalue="")]
    return edits


def count_normalized(reference: str, hypothesis: str, language: str, rule: str) -> ErrorCounts:
    """Return the errors after both texts are normalised by ``rule``."""
    return count_errors(*(normalize_for_scoring(text, language, rule) for text in (reference, hypothesis)))
