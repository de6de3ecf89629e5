"""Steps that are done once, curves and checkpoints over restarts, commands that die with their starter."""

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from data_prep.restartable_training import callbacks, last_sure_checkpoint, on_leash, read_curve, write_curve
from data_prep.steps import Step, StepError, claim, run_step
from tests.data_prep.killing import kill, wait_until

ROOT = Path(__file__).parents[2]


@pytest.fixture
def step(tmp_path):
    """Return a step that copies the words of its recipe into a file, and the list of what it wrote."""
    wrote = []

    def make(**made_from):
        def act():
            wrote.append(made_from)
            (tmp_path / "out.txt").write_text(str(made_from))

        return Step("copy", tmp_path / "copy.json", made_from, (tmp_path / "out.txt",), act, tmp_path / "partial")

    return make, wrote


def test_a_step_is_done_once_and_refuses_what_differs(step, tmp_path):
    make, wrote = step
    run_step(make(lr=0.1, deep={"units": 5}))
    run_step(make(lr=0.1, deep={"units": 5}))
    assert wrote == [{"lr": 0.1, "deep": {"units": 5}}]
    with pytest.raises(StepError, match=r"copy in .* deep\.units was 5, is now 6; more was null, is now 1\. Take the"):
        run_step(make(lr=0.1, deep={"units": 6}, more=1))
    (tmp_path / "out.txt").unlink()
    run_step(make(lr=0.2))  # nothing is there to be mixed with
    assert wrote[1:] == [{"lr": 0.2}]


def test_a_step_that_was_stopped_is_done_again_and_one_that_goes_on_refuses_what_differs(step, tmp_path):
    make, wrote = step

    def killed():
        (tmp_path / "out.txt").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(replace(make(lr=0.1), act=killed))
    (tmp_path / "partial").mkdir()
    run_step(make(lr=0.3))
    assert wrote == [{"lr": 0.3}]
    with pytest.raises(KeyboardInterrupt):
        run_step(replace(make(lr=0.3), makes=(tmp_path / "other",), act=killed))
    (tmp_path / "partial" / "checkpoint").touch()
    with pytest.raises(StepError, match=r"lr was 0\.3, is now 0\.4"):
        run_step(make(lr=0.4))
    run_step(make(lr=0.3))
    assert wrote[1:] == [{"lr": 0.3}]


def test_a_folder_has_one_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.steps.PATIENCE_S", 0.1)
    with claim(tmp_path), pytest.raises(SystemExit, match="another run works in"), claim(tmp_path):
        pass
    with claim(tmp_path):
        pass


def test_training_goes_on_from_a_checkpoint_that_something_later_was_reported_after(tmp_path):
    def report(*updates):
        with (tmp_path / "curve.jsonl").open("a") as file:
            file.writelines(json.dumps({"update": update, "loss": update / 10}) + "\n" for update in updates)

    assert last_sure_checkpoint(tmp_path) is None
    (tmp_path / "checkpoints").mkdir()
    for update in (8, 12, 100):
        (tmp_path / f"checkpoints/step={update}.ckpt").touch()
    report(3, 6)
    assert last_sure_checkpoint(tmp_path) is None
    report(9, 12)
    assert last_sure_checkpoint(tmp_path).name == "step=8.ckpt"
    report(15)
    assert last_sure_checkpoint(tmp_path).name == "step=12.ckpt"


def test_a_curve_is_joined_over_restarts(tmp_path):
    lines = [{"update": 2, "a": 1.0}, {"update": 4, "a": 2.0}, {"update": 2, "b": 5.0}, {"update": 4, "a": 3.0}]
    (tmp_path / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"update": 6, "a')
    assert read_curve(tmp_path) == {2: {"a": 1.0, "b": 5.0}, 4: {"a": 3.0}}
    write_curve(tmp_path)
    assert (tmp_path / "curve.csv").read_text().split() == ["update,a,b", "2,1.0,5.0", "4,3.0,"]


def test_checkpoints_of_the_configurations_give_way_to_ours(tmp_path):
    theirs = [{"class_path": "ModelCheckpoint"}, {"class_path": "LearningRateMonitor"}]
    kept, ours = callbacks(tmp_path, {"trainer.callbacks": theirs}, 7)
    assert kept == theirs[1]
    assert ours["init_args"]["every_n_train_steps"] == 7
    assert len(callbacks(tmp_path, {}, 7)) == 1


PARENT = """
import sys
from dataclasses import replace
from pathlib import Path
from data_prep.restartable_training import on_leash
child = "import os, subprocess, sys, time; print(os.getpid(), flush=True);" \
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"
with open(sys.argv[1], "w") as log, open(sys.argv[1] + ".lock", "w") as lock:
    with on_leash([sys.executable, "-c", child], log, lock) as process:
        process.wait()
"""


def test_whatever_is_on_a_leash_dies_with_its_starter(tmp_path):
    log = tmp_path / "log.txt"
    process = subprocess.Popen([sys.executable, "-c", PARENT, log], cwd=ROOT)
    wait_until(lambda: log.exists() and log.read_text().count("\n") == 3, process)
    child, grandchild = map(int, log.read_text().split("\n")[1:3])
    assert {child, grandchild} <= set(kill(process))


@pytest.mark.parametrize(("code", "status"), [("print('done')", 0), ("raise SystemExit(3)", 3)])
def test_a_command_on_a_leash_ends_with_its_own_status(tmp_path, code, status):
    with (tmp_path / "log.txt").open("w") as log, (tmp_path / "lock").open("w") as lock:
        with on_leash([sys.executable, "-c", code], log, lock) as process:
            assert process.wait() == status
        with on_leash([sys.executable, "-c", "import time; time.sleep(60)"], log, lock) as process:
            pass
        assert process.returncode == -signal.SIGKILL
    assert ("done" in (tmp_path / "log.txt").read_text().split("\n")) == (status == 0)
