"""Crops lie where the official AV-HuBERT recipe puts them: its rules, and clips of which its placement is known."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from avspeech.roi.faces import Face
from avspeech.roi.flow import NEEDED
from avspeech.roi.lips import extract_lips
from avspeech.roi.mouth import CROPS, EYE_DISTANCE, STABLE

SHARED = Path(os.environ.get("AVSPEECH_SHARED", "none"))
CLIPS = sorted(path.stem for path in SHARED.glob("fixtures_lips/*.npz"))
CENTRES = np.mgrid[:96, :96].reshape(2, -1) + 0.5


def moving_face(num_frames=40, seed=0):
    points_TN2 = np.random.default_rng(seed).normal(0, 20, (1, len(NEEDED) + 2, 2)).repeat(num_frames, axis=0)
    points_TN2 += np.random.default_rng(seed + 1).normal(0, 0.5, points_TN2.shape)
    return Face(0, points_TN2.astype(np.float32), np.zeros(num_frames, np.uint8))


def turned(face, frame):
    """Return the face with other points in one frame."""
    points_TN2 = face.points_TN2.copy()
    points_TN2[frame] += 3 * np.random.default_rng(2).normal(size=points_TN2[frame].shape)
    return Face(0, points_TN2.astype(np.float32), face.status_T)


@pytest.mark.parametrize(("alignment", "seen_from", "seen_until"), [("official", 9, 20), ("causal", 20, 31)])
def test_scale_and_rotation_are_the_mean_of_twelve_frames(alignment, seen_from, seen_until):
    """Frame 20 counts in frames 9 to 20 of the official rule, in 20 to 31 of the causal one, and nowhere else."""
    face = moving_face()
    before_T23, after_T23 = (one.placements_over(40, alignment) for one in (face, turned(face, 20)))
    changed_T = np.abs(before_T23[:, :, :2] - after_T23[:, :, :2]).max(axis=(1, 2)) > 1e-6
    assert np.flatnonzero(changed_T).tolist() == list(range(seen_from, seen_until + 1))


def test_the_official_rule_repeats_its_last_whole_window_and_the_causal_one_never_looks_ahead():
    face = moving_face()
    official_T23, causal_T23 = (face.placements_over(40, one) for one in ("official", "causal"))
    assert np.ptp(official_T23[28:, :, :2], axis=0).max() < 1e-9 < np.ptp(official_T23[27:, :, :2], axis=0).max()
    for end in (1, 5, 30):
        cut = Face(0, face.points_TN2[:end], face.status_T[:end])
        np.testing.assert_allclose(cut.placements_over(end, "causal"), causal_T23[:end], atol=1e-4)


@pytest.mark.parametrize("alignment", ["official", "causal"])
def test_each_frames_own_lips_lie_at_the_lip_centre(alignment):
    face, rule = moving_face(), CROPS[alignment]
    placed_T23 = face.placements_over(40, alignment)
    lips_T2 = face.points_TN2[:, len(STABLE) : len(NEEDED)].mean(axis=1, dtype=np.float64)
    centre_T2 = np.einsum("tij,tj->ti", placed_T23[:, :, :2], lips_T2) + placed_T23[:, :, 2]
    np.testing.assert_allclose(centre_T2, np.tile(rule.lip_centre, (40, 1)), atol=1e-4)


def test_former_crops_show_the_same_place_larger():
    """The steady crop enlarged around the lips is the former one."""
    face = moving_face()
    steady_T23, former_T23 = (face.placements_over(40, one) for one in ("steady", "former"))
    larger = CROPS["former"].eye_distance / EYE_DISTANCE
    np.testing.assert_allclose(former_T23[:, :, :2], larger * steady_T23[:, :, :2], rtol=1e-5)
    shift_T2 = larger * (steady_T23[:, :, 2] - CROPS["steady"].lip_centre) + CROPS["former"].lip_centre
    np.testing.assert_allclose(former_T23[:, :, 2], shift_T2, atol=1e-3)


def from_corner(matrices_T23):
    """Return maps between pixels counted from the corner, given maps between ones counted from a pixel's centre."""
    shift_T2 = matrices_T23[:, :, 2] + 0.5 - matrices_T23[:, :, :2].sum(axis=2) / 2
    return np.concatenate([matrices_T23[:, :, :2], shift_T2[:, :, None]], axis=2)


def ssim(one_HW, other_HW):
    """Return the structural similarity (Wang et al. 2004) with a Gaussian of 11x11 and deviation 1.5."""
    one, other = one_HW.astype(float), other_HW.astype(float)
    mean, theirs, power, their_power, both = (
        cv2.GaussianBlur(values, (11, 11), 1.5) for values in (one, other, one * one, other * other, one * other)
    )
    spread = power + their_power - mean**2 - theirs**2
    light, shape = 2 * mean * theirs + 6.5025, 2 * (both - mean * theirs) + 58.5225
    return (light * shape / ((mean**2 + theirs**2 + 6.5025) * (spread + 58.5225))).mean()


def compare(name, finder, alignment="official"):
    """Return the mean over the frames with a face: distance (RMS over the crop, crop pixels), scale, SSIM."""
    (video,) = [*SHARED.glob(f"data/grid_s1/original_mpg/{name}.*"), *SHARED.glob(f"fixtures_lips/video/{name}.*")]
    with np.load(SHARED / f"fixtures_lips/{name}.npz") as official:
        found_T, crops_THW, theirs_T23 = official["found"] > 0, official["crops"], from_corner(official["to_crop"])
    clip = extract_lips(video, finder, alignment=alignment)
    relative_T22 = clip.placements_T23[:, :, :2] @ np.linalg.inv(theirs_T23[:, :, :2])
    shift_T2 = clip.placements_T23[:, :, 2] - np.einsum("tij,tj->ti", relative_T22, theirs_T23[:, :, 2])
    apart_T2N = relative_T22 @ CENTRES + shift_T2[:, :, None] - CENTRES
    rms_T, scale_T = np.sqrt((apart_T2N**2).sum(axis=1).mean(axis=1)), np.hypot(*relative_T22[:, 0].T)
    likeness = [ssim(clip.mouth_THW[t], crops_THW[t]) for t in np.flatnonzero(found_T)[::3]]
    return rms_T[found_T].mean(), scale_T[found_T].mean(), np.mean(likeness)


needs_crops = pytest.mark.skipif(not CLIPS, reason="AVSPEECH_SHARED names no folder with official crops")


@needs_crops
@pytest.mark.parametrize("clips", [CLIPS[::9], pytest.param(CLIPS, marks=pytest.mark.slow)], ids=len)
def test_crops_are_the_official_ones(clips, finder):
    rms, scale, likeness = np.array([compare(name, finder) for name in clips]).T
    assert rms.mean() < 1.5 and rms.max() < 2.8
    assert 0.98 < scale.mean() < 1.02
    assert likeness.mean() > 0.9


@needs_crops
@pytest.mark.slow
def test_no_other_alignment_is_as_near(finder):
    """``-s`` shows the table of experiments/2026-11-lip-crops."""
    rows = {one: np.array([compare(name, finder, one) for name in CLIPS]) for one in CROPS}
    for one, values_N3 in rows.items():
        mean_3 = values_N3.mean(axis=0)
        print(f"| {one} | {mean_3[0]:.2f} | {values_N3[:, 0].max():.2f} | {mean_3[1]:.3f} | {mean_3[2]:.3f} |")
    assert min(rows, key=lambda one: rows[one][:, 0].mean()) == "official"
