"""Steps that are done once, curves and checkpoints over restarts, commands that die with their starter."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.pipeline import Step, StepError, claim, read_records, run_steps, start
from data_prep.restartable_training import last_sure_checkpoint, read_curve, restartable, write_curve
from tests.data_prep.killing import kill, wait_until
from tests.refusals import raises

ROOT = Path(__file__).parents[2]
APPEND = "import sys; open(sys.argv[1], 'a').write(sys.argv[2] + ' ')"


def step(tmp_path, *options, code=APPEND, **more):
    """Return a step that appends its first option to a file."""
    out = tmp_path / "out.txt"
    return Step("append", {"append": ["-c", code, str(out), *options]}, [out], **more)


def test_a_step_is_done_once_and_refuses_what_differs(tmp_path):
    manifest = tmp_path / "in.jsonl"
    manifest.write_text("1")
    (tmp_path / "a.yaml").write_text("deep: {units: 5}\nlr: 1.0")
    options = ["--lr=0.1", str(manifest), f"--config={tmp_path}/a.yaml", "--device=cpu"]

    def run(*options):
        return run_steps(tmp_path / "run", [step(tmp_path, *options, may_change=["device"])], threads=1)

    record = run(*options)["append"]
    assert record["done"] and record["wall_s"] > 0 and record["peak_gib"] > 0
    assert record["made_from"]["append"].keys() >= {"lr", "deep.units"}
    assert run(*options[:3], "--device=cuda") == {"append": record}
    assert (tmp_path / "out.txt").read_text() == "--lr=0.1 "
    (tmp_path / "a.yaml").write_text("deep: {units: 6}\nlr: 1.0")
    with pytest.raises(StepError, match=r"append: deep\.units was 5, is now 6; append: more was null, is now 1\)"):
        run(*options, "--more=1")
    (tmp_path / "a.yaml").write_text("deep: {units: 5}\nlr: 1.0")
    manifest.write_text("2")
    raises(StepError, r'was "in\.jsonl, SHA-256 6b86b273.*", is now "in\.jsonl, SHA-256 d4735e3a', run, *options)
    (tmp_path / "out.txt").unlink()
    run("--lr=0.2")  # nothing is there to be mixed with
    assert (tmp_path / "out.txt").read_text() == "--lr=0.2 "


def test_a_step_that_failed_is_done_again_and_the_end_of_its_log_is_shown(tmp_path):
    broken = step(tmp_path, "a", code="import sys; open(sys.argv[1], 'w'); print('why'); raise SystemExit(3)")
    two = Step("two", {**broken.commands, "other": ["-c", "import time; time.sleep(60)"]}, broken.makes)
    raises(SystemExit, r"why\n\nstep 'two' failed: append ended with status 3", run_steps, tmp_path / "run", [two])
    assert not read_records(tmp_path / "run")["two"]["done"]
    with pytest.raises(SystemExit, match=r"step 'append' ended without .*missing"):
        run_steps(tmp_path / "run", [Step("append", {"append": ["-c", "0"]}, [tmp_path / "missing"])])
    run_steps(tmp_path / "run", [step(tmp_path, "b")])
    assert read_records(tmp_path / "run")["append"]["done"]


def test_a_training_that_goes_on_refuses_what_differs_and_one_of_unknown_origin_begins_anew(tmp_path):
    place = tmp_path / "run/training"
    training = ["-c", "raise SystemExit(1)", f"--trainer.default_root_dir={place}"]

    def fails(error, message, *options):
        with pytest.raises(error, match=message):
            run_steps(tmp_path / "run", [Step("train", {"train": [*training, *options]}, [place / "model"])])

    (place / "checkpoints").mkdir(parents=True)
    fails(SystemExit, "train ended with status 1", "--lr=0.1")
    assert not (place / "checkpoints").exists()
    fails(SystemExit, "train ended with status 1", "--lr=0.2")  # nothing is there to go on from
    (place / "checkpoints").mkdir()
    fails(StepError, r"lr was 0\.2, is now 0\.3", "--lr=0.3")


def test_a_folder_has_one_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.pipeline.PATIENCE_S", 0.1)
    for _ in range(2):  # the lock is given back
        with claim(tmp_path), pytest.raises(SystemExit, match="another run works in"), claim(tmp_path):
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
    (tmp_path / "curve.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"update": 6, "a')
    assert read_curve(tmp_path) == {2: {"a": 1.0, "b": 5.0}, 4: {"a": 3.0}}
    write_curve(tmp_path)
    assert (tmp_path / "curve.csv").read_text().split() == ["update,a,b", "2,1.0,5.0", "4,3.0,"]


def test_checkpoints_of_the_configurations_give_way_to_ours(tmp_path):
    theirs = [{"class_path": "ModelCheckpoint"}, {"class_path": "LearningRateMonitor"}]
    command = [f"--trainer.default_root_dir={tmp_path}"]
    for settings, kept in (({"trainer.callbacks": theirs}, theirs[1:]), ({}, [])):
        given = dict(part.split("=", 1) for part in restartable(command, settings, 7))
        *others, ours = json.loads(given["--trainer.callbacks"])
        assert others == kept
        assert ours["init_args"]["every_n_train_steps"] == 7


PARENT = """
import sys
from data_prep.pipeline import start
child = "import os, subprocess, sys, time; print(os.getpid(), flush=True);" \
    "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"
with open(sys.argv[1], "w") as log, open(sys.argv[1] + ".lock", "w") as lock:
    with start(["-c", child], log, lock) as process:
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
        with start(["-c", code], log, lock) as process:
            assert process.wait() == status
        with start(["-c", "import time; time.sleep(60)"], log, lock) as process:
            pass
        assert process.returncode == -signal.SIGKILL
    assert ("done" in (tmp_path / "log.txt").read_text().split("\n")) == (status == 0)
