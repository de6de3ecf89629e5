"""Unit quality against cases worked out by hand."""

from math import log

import pytest

from avspeech.units.quality import UnitUse, frame_labels, unit_quality, unit_use


def test_units_that_are_the_labels_are_perfect():
    quality = unit_quality([[0, 0, 1], [2, 1]], [["a", "a", "b"], ["c", "b"]])
    assert (quality.pnmi, quality.label_purity, quality.cluster_purity) == pytest.approx((1, 1, 1))
    assert quality.num_frames == 5


def test_one_unit_for_everything_tells_nothing():
    quality = unit_quality([[7, 7, 7, 7]], [["a", "a", "a", "b"]])
    assert (quality.pnmi, quality.label_purity, quality.cluster_purity) == pytest.approx((0, 0.75, 1))


def test_independent_units_tell_nothing():
    assert unit_quality([[0, 1, 0, 1]], [["a", "a", "b", "b"]]).pnmi == pytest.approx(0, abs=1e-12)


def test_a_case_by_hand():
    # unit 0: a a b; unit 1: b. H(label) = log 2. I = 1/2 log(2 * 4 / (3 * 2)) + 1/4 log(4 / (3 * 2)) + 1/4 log(4 / 2)
    quality = unit_quality([[0, 0, 0, 1]], [["a", "a", "b", "b"]])
    shared = log(4 / 3) / 2 + log(2 / 3) / 4 + log(2) / 4
    assert quality.pnmi == pytest.approx(shared / log(2))
    assert quality.label_purity == pytest.approx(3 / 4)
    assert quality.cluster_purity == pytest.approx(3 / 4)


def test_a_unit_per_frame_is_pure_and_shatters_the_labels():
    quality = unit_quality([[0, 1, 2, 3]], [["a", "a", "b", "b"]])
    assert (quality.pnmi, quality.label_purity, quality.cluster_purity) == pytest.approx((1, 1, 0.5))


def test_frames_without_a_label_are_left_out():
    quality = unit_quality([[0, 0, 1, 5]], [["a", "a", "b", None]])
    assert (quality.pnmi, quality.num_frames) == (pytest.approx(1), 3)


def test_a_single_label_has_nothing_to_explain():
    assert unit_quality([[0, 1]], [["a", "a"]]).pnmi == 0


def test_what_does_not_match_is_named_in_the_error():
    with pytest.raises(ValueError, match="utterance 1 has 2 units and 1 labels"):
        unit_quality([[0], [0, 1]], [["a"], ["a"]])
    with pytest.raises(ValueError, match="no frame has both"):
        unit_quality([[0]], [[None]])
    with pytest.raises(ValueError, match="shorter"):
        unit_quality([[0], [0]], [["a"]])


def test_a_frame_has_the_label_of_its_middle():
    # at 25 Hz frame t runs from 0.04 t to 0.04 t + 0.04 s
    spans = [("a", 0.05, 0.13), ("b", 0.13, 0.30)]
    assert frame_labels(spans, 6, 25) == ["", "a", "a", "b", "b", "b"]
    assert frame_labels(spans, 2, 25) == ["", "a"]
    assert frame_labels(spans, 10, 25)[-3:] == ["", "", ""]
    assert frame_labels([("a", 5.0, 6.0)], 3, 25) == ["", "", ""]
    assert frame_labels([], 2, 25, gap="sil") == ["sil", "sil"]


def test_use_of_units():
    even = unit_use([[0, 1], [2, 3, 3, 2, 1, 0], []])
    assert (even.used, even.perplexity, even.entropy) == pytest.approx((4, 4, log(4)))
    assert unit_use([[5, 5, 5]]) == UnitUse(1, 0, 1)
    uneven = unit_use([[0, 0, 0, 1]])
    assert uneven.entropy == pytest.approx(log(4) - 3 * log(3) / 4)
    assert unit_use([[], []]) == UnitUse(0, 0, 1)
