"""Unit quality against cases worked out by hand."""

from math import log

import pytest

from avspeech.units.quality import UnitUse, frame_labels, unit_quality, unit_use
from tests.refusals import raises

# By hand, 0 0 0 1 on a a b b: H(label) = log 2. I = 1/2 log(2 * 4 / (3 * 2)) + 1/4 log(4 / (3 * 2)) + 1/4 log(4 / 2)
SHARED = log(4 / 3) / 2 + log(2 / 3) / 4 + log(2) / 4
CASES = {
    "units that are the labels are perfect": ([[0, 0, 1], [2, 1]], ["aab", "cb"], (1, 1, 1)),
    "one unit for everything tells nothing": ([[7, 7, 7, 7]], ["aaab"], (0, 0.75, 1)),
    "independent units tell nothing": ([[0, 1, 0, 1]], ["aabb"], (0, 0.5, 0.5)),
    "a case by hand": ([[0, 0, 0, 1]], ["aabb"], (SHARED / log(2), 0.75, 0.75)),
    "a unit per frame is pure and shatters the labels": ([[0, 1, 2, 3]], ["aabb"], (1, 1, 0.5)),
    "frames without a label are left out": ([[0, 0, 1, 5]], [["a", "a", "b", None]], (1, 1, 1)),
}


@pytest.mark.parametrize("case", CASES)
def test_units_are_as_good_as_worked_out(case):
    units, labels, expected = CASES[case]
    quality = unit_quality(units, labels)
    assert (quality.pnmi, quality.label_purity, quality.cluster_purity) == pytest.approx(expected, abs=1e-12)
    assert quality.num_frames == sum(label is not None for row in labels for label in row)


def test_a_single_label_has_nothing_to_explain():
    assert unit_quality([[0, 1]], [["a", "a"]]).pnmi == 0


def test_what_does_not_match_is_named_in_the_error():
    raises(ValueError, "utterance 1 has 2 units and 1 labels", unit_quality, [[0], [0, 1]], ["a", "a"])
    raises(ValueError, "no frame has both", unit_quality, [[0]], [[None]])
    raises(ValueError, "shorter", unit_quality, [[0], [0]], ["a"])


def test_a_frame_has_the_label_of_its_middle():
    # at 25 Hz frame t runs from 0.04 t to 0.04 t + 0.04 s
    spans = [("a", 0.05, 0.13), ("b", 0.13, 0.30)]
    for num_frames in (2, 6, 10):
        assert frame_labels(spans, num_frames, 25) == ["", "a", "a", "b", "b", "b", "b", "", "", ""][:num_frames]
    assert frame_labels([("a", 5.0, 6.0)], 3, 25) == ["", "", ""]
    assert frame_labels([], 2, 25, gap="sil") == ["sil", "sil"]


def test_use_of_units():
    even = unit_use([[0, 1], [2, 3, 3, 2, 1, 0], []])
    assert (even.used, even.perplexity, even.entropy) == pytest.approx((4, 4, log(4)))
    assert unit_use([[5, 5, 5]]) == UnitUse(1, 0, 1)
    assert unit_use([[0, 0, 0, 1]]).entropy == pytest.approx(log(4) - 3 * log(3) / 4)
    assert unit_use([[], []]) == UnitUse(0, 0, 1)
