"""A corpus to plan noise with. Not to be altered."""

from pathlib import Path

import pytest

from tests.noise.plan_corpus import write_plan_corpus


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return write_plan_corpus(tmp_path_factory.mktemp("noise") / "corpus")
