"""Lips of faces upside down or on their side are cut upright, or are missing: never a crop of hair or forehead."""

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from avspeech.media.video import read_frames
from avspeech.roi.lips import extract_lips, find_lips
from avspeech.roi.track import FrameStatus, NoFace
from tests.media.conftest import write
from tests.roi.conftest import face

SHARED = os.environ.get("AVSPEECH_SHARED")


def check_turned(path: Path, frames: list[np.ndarray], quarters: int, upright: np.ndarray, finder, **how) -> None:
    """Store the frames turned counterclockwise; their measured crops must be those of the upright video."""
    turned = [np.ascontiguousarray(np.rot90(one, quarters)) for one in frames]
    write(path, turned, range(len(frames)), Fraction(1, 25), **how)
    try:
        found = find_lips(path, finder)
    except NoFace:
        return
    mouth_THW = np.stack(list(found.crops())).astype(float)
    seen_T = found.status_T != FrameStatus.MISSING
    assert found.followed.notes and ("upside down" if quarters == 2 else "on its side") in found.followed.notes[0]
    apart = np.abs(mouth_THW[seen_T] - upright[: len(mouth_THW)][seen_T]).mean()
    turned_away = np.abs(mouth_THW[seen_T] - upright[: len(mouth_THW)][seen_T, ::-1]).mean()
    assert apart < 10 and apart < 0.6 * turned_away


@pytest.mark.parametrize(
    ("name", "quarters"),
    [
        ("a.mp4", 2),
        *(pytest.param(*one, marks=pytest.mark.slow) for one in (("b.mov", 1), ("c.mkv", 3), ("d.webm", 2))),
    ],
)
def test_drawn_faces(name, quarters, finder, tmp_path):
    frames = [face(0.5 - 0.5 * np.cos(index / 2)) for index in range(17)]
    write(tmp_path / "upright.mp4", frames, range(17), Fraction(1, 25))
    upright_THW = extract_lips(tmp_path / "upright.mp4", finder).mouth_THW
    codec = "libvpx" if name == "d.webm" else "libx264"
    check_turned(tmp_path / name, frames, quarters, upright_THW, finder, codec=codec)


@pytest.mark.slow
@pytest.mark.skipif(SHARED is None, reason="AVSPEECH_SHARED names no folder of real clips")
@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("number", range(4))
def test_real_faces(number, quarters, finder, tmp_path):
    folder = ("grid_s1/original_mpg", "grid_speakers/s2", "grid_speakers/s31", "lombard_grid/lombard_s2/front")[number]
    clip = sorted(Path(str(SHARED), "data", folder).glob("*.mp[4g]"))[3]
    frames = list(read_frames(clip))[:40]
    frames = [one[: len(one) // 2 * 2, : one.shape[1] // 2 * 2] for one in frames]
    write(tmp_path / "upright.mp4", frames, range(40), Fraction(1, 25))
    upright_THW = extract_lips(tmp_path / "upright.mp4", finder).mouth_THW
    check_turned(tmp_path / "turned.mkv", frames, quarters, upright_THW, finder)
