"""Files of a visit go when they are replaced and when it ends, and no others do."""

import pytest

from avspeech.page.sessions import Sessions


@pytest.fixture
def sessions(tmp_path) -> Sessions:
    return Sessions(tmp_path / "uploads", tmp_path / "results")


def uploaded(sessions: Sessions, name: str):
    path = sessions.uploads / name / "clip.mp4"
    path.parent.mkdir()
    path.write_bytes(b"x")
    return path


def run(sessions: Sessions, visit: str):
    with sessions.job(visit) as folder:
        (folder / "result").write_bytes(b"x")
    return folder


def test_a_new_upload_takes_the_place_of_the_old(sessions):
    first, second = uploaded(sessions, "a"), uploaded(sessions, "b")
    sessions.hold("visit", first)
    sessions.hold("visit", first)
    assert first.exists()
    sessions.hold("visit", second)
    assert not first.parent.exists() and second.exists()
    sessions.hold("visit", None)
    assert list(sessions.uploads.iterdir()) == []


def test_an_upload_that_two_visits_hold_stays_until_the_second_lets_go(sessions):
    shared = uploaded(sessions, "a")
    sessions.hold("one", shared)
    sessions.hold("two", shared)
    sessions.forget("one")
    assert shared.exists()
    sessions.forget("two")
    assert not shared.exists()


def test_results_last_until_the_next_job_or_the_end(sessions):
    first = run(sessions, "visit")
    other = run(sessions, "other")
    assert (first / "result").exists()
    second = run(sessions, "visit")
    assert not first.exists() and second.exists()
    sessions.forget("visit")
    assert not second.exists() and other.exists()


def test_a_failed_job_leaves_nothing(sessions):
    def fail():
        with sessions.job("visit") as folder:
            (folder / "half").write_bytes(b"x")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert list(sessions.results.iterdir()) == []


def test_a_tab_closed_during_its_job_is_forgotten_after_it(sessions):
    upload = uploaded(sessions, "a")
    sessions.hold("visit", upload)
    with sessions.job("visit") as folder:
        sessions.forget("visit")
        assert folder.exists() and upload.exists()
    assert not folder.exists() and not upload.exists()


def test_files_of_others_are_never_deleted(sessions, tmp_path):
    mine = tmp_path / "mine.mp4"
    mine.write_bytes(b"x")
    sneaky = sessions.uploads / ".." / "mine.mp4"
    for path in (mine, sneaky, sessions.uploads):
        sessions.hold("visit", path)
        sessions.forget("visit")
    assert mine.exists() and sessions.uploads.exists()
