"""``evaluate`` that dies at any of its writes, or at any moment, gives the same when it is started again."""

import pytest

from avspeech.evaluate import main
from avspeech.models.files import save_model
from tests.dying import survives_moments, survives_writes
from tests.evaluation.test_evaluate import CONDITIONS

pytestmark = pytest.mark.slow


@pytest.fixture
def command(corpus, model, tmp_path, monkeypatch):
    monkeypatch.setattr("avspeech.evaluation.grid.monotonic", lambda: 0.0)  # the report says how long it took
    save_model(tmp_path / "tiny.safetensors", model)
    (tmp_path / "conditions.yaml").write_text(CONDITIONS)
    given = tmp_path / "tiny.safetensors", corpus / "test.jsonl", tmp_path / "conditions.yaml", tmp_path / "out"
    return lambda: main(*given, noise_manifests={"babble": corpus / "voices.jsonl"})


def test_a_death_before_or_after_any_write_changes_nothing(command, tmp_path):
    survives_writes(command, tmp_path / "out")


def test_deaths_at_twenty_moments_change_nothing(command, tmp_path):
    survives_moments(command, tmp_path / "out")
