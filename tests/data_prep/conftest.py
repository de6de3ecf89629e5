"""Shared: drawn talking faces, their sound, a face model, and steps of a run without processes of their own."""

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from jsonargparse import auto_cli

from tests.roi.conftest import picture


def talking_frames(count: int, step: int = 7) -> list[np.ndarray]:
    return [picture(160, 200, (100 + t % step, 80, 120, 0.5 - 0.5 * np.cos(t / 2))) for t in range(count)]


def sound(count: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(count * 640)).astype(np.float32)


@pytest.fixture(scope="session")
def face_model() -> None:
    pytest.importorskip("ai_edge_litert")
    from avspeech.roi.face_model import FaceModelError, find_face_model

    try:
        find_face_model()
    except FaceModelError as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def steps_in_process() -> Iterator[list[list[str]]]:
    """Let the commands of a run be calls: no process has to import everything anew. Give the commands."""
    given = []

    @contextlib.contextmanager
    def call(command, log, lock, threads=None):
        given.append(command)
        name = "avspeech.interop.__main__" if command[1] == "avspeech.interop" else command[1]
        module = importlib.import_module(name)
        with contextlib.redirect_stdout(log or sys.stdout):
            if module.__name__ == "avspeech.train":
                print(*command)
                module.main(command[2:])
            else:
                auto_cli(module.main, args=command[2:])
        yield SimpleNamespace(wait=lambda timeout=None: 0, poll=lambda: 0, returncode=0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("data_prep.pipeline.start", call)
        yield given


@pytest.fixture
def in_process() -> Iterator[list[list[str]]]:
    with steps_in_process() as given:
        yield given
