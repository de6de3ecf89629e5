"""Error counts against hand-made alignments."""

import random

import pytest

from avspeech.evaluation.error_rate import ErrorCounts, align_words, count_errors, total


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ("bin blue at f two now", "bin blue at f two now", (6, 0, 0, 0, 21, 0)),
        ("bin blue at f two now", "bin green at two now", (6, 1, 1, 0, 21, 6)),
        ("a b c", "a x c d", (3, 1, 0, 1, 5, 3)),
        ("set red", "", (2, 0, 2, 0, 7, 7)),
        ("", "one two", (0, 0, 0, 2, 0, 7)),
        ("", "", (0, 0, 0, 0, 0, 0)),
        ("  two   words ", "two words", (2, 0, 0, 0, 9, 0)),
    ],
)
def test_counts_match_a_hand_made_alignment(reference, hypothesis, counts):
    """Words, substitutions, deletions, insertions, characters and their errors."""
    assert count_errors(reference, hypothesis) == ErrorCounts(*counts)


def test_rates_are_errors_over_reference_length_and_utterances_weigh_by_their_words():
    counts = count_errors("a b c", "a x c d")
    assert (counts.wer, counts.cer) == pytest.approx((2 / 3, 3 / 5))
    long, short = count_errors("a b c d e f g h i", "a b c d e f g h i"), count_errors("z", "y")
    assert total([long, short]).wer == pytest.approx(0.1)
    assert total([]).wer == 0


def test_word_errors_equal_levenshtein_distance_of_random_texts():
    draw = random.Random(0)
    for _ in range(200):
        reference, hypothesis = ([draw.choice("abcd") for _ in range(draw.randrange(8))] for _ in range(2))
        counts = count_errors(" ".join(reference), " ".join(hypothesis))
        assert counts.word_errors == levenshtein(reference, hypothesis)
        assert counts.num_words + counts.insertions - counts.deletions == len(hypothesis)


def test_alignment_names_every_word_once():
    edits = align_words("bin blue at f now please", "bin green f now two please")
    assert [(edit.kind, edit.reference, edit.hypothesis) for edit in edits] == [
        ("equal", "bin", "bin"), ("substitute", "blue", "green"), ("delete", "at", ""), ("equal", "f", "f"),
        ("equal", "now", "now"), ("insert", "", "two"), ("equal", "please", "please"),
    ]  # fmt: skip
    assert [edit.kind for edit in align_words("", "a")] == ["insert"]


def levenshtein(a: list[str], b: list[str]) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row, above = [i], row
        for j, y in enumerate(b, start=1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
    return row[-1]
