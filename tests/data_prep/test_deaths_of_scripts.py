"""A script that dies at any of its writes, or at any moment, ends with the same bytes when it is started again."""

import pytest

from avspeech.manifest import Utterance, write_manifest
from avspeech.media.video import write_video
from data_prep import extract_rois, pretrain_iterations
from tests.data_prep.conftest import sound, talking_frames
from tests.data_prep.test_pretrain_iterations import tiny, untrained, written  # noqa: F401 - fixtures
from tests.dying import survives_moments, survives_writes

pytestmark = pytest.mark.slow


@pytest.fixture
def extracting(face_model, tmp_path):
    for number in range(3):
        write_video(tmp_path / f"{number}.mp4", talking_frames(12 + number), sound(12 + number))
    clips = [Utterance(f"clip{n}", *[tmp_path / f"{n}.mp4"] * 2) for n in range(4)]  # the last is not there
    write_manifest(tmp_path / "clips.jsonl", clips)
    out = tmp_path / "out"
    return lambda: extract_rois.main(tmp_path / "clips.jsonl", out, workers=0, max_failed=1, report=out / "rois.html")


@pytest.fixture
def iterating(corpus, tmp_path, untrained):  # noqa: F811
    recipe = written(tmp_path, tiny(corpus))
    return lambda: pretrain_iterations.main(recipe, tmp_path / "out")


@pytest.fixture(params=["extracting", "iterating"])
def command(request):
    return request.getfixturevalue(request.param)


def test_a_death_before_or_after_any_write_changes_nothing(command, tmp_path):
    survives_writes(command, tmp_path / "out")


def test_deaths_at_twenty_moments_change_nothing(command, tmp_path):
    survives_moments(command, tmp_path / "out")
