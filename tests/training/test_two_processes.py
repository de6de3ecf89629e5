"""Two processes train as one that accumulates gradients over the same two batches, with dropout and draws."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from tests.training.test_training import ENCODER, ROOT, pretraining

WHOLE_DEPTH = ENCODER.replace("layer_drop: 0.2", "layer_drop: 0.0")  # plain ddp wants every weight used
TWO = ("--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu")


def train(corpus, out, steps, *more):
    out.mkdir()
    arguments = [argument for argument in pretraining(corpus, out, steps) if "encoder=" not in argument]
    recorder = "--trainer.callbacks+=tests.training.record_losses.RecordLosses"
    arguments += [f"--model.init_args.encoder={WHOLE_DEPTH}", recorder, "--trainer.limit_val_batches=0", *more]
    command = [sys.executable, "-m", "avspeech.train", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = {path.name: path.read_text().split("\n")[:-1] for path in sorted(out.glob("losses.*.txt"))}
    return {name: [line.split(" ") for line in rows] for name, rows in lines.items()}


@pytest.mark.slow  # 50 s, most of it processes that start
def test_two_gloo_processes_give_the_losses_of_accumulation(corpus, tmp_path):
    steps = 4
    both = train(corpus, tmp_path / "ddp", steps, *TWO)
    alone = train(corpus, tmp_path / "accumulated", steps, "--trainer.accumulate_grad_batches=2")["losses.0.txt"]
    assert sorted(both) == ["losses.0.txt", "losses.1.txt"]
    interleaved = [row for pair in zip(both["losses.0.txt"], both["losses.1.txt"], strict=True) for row in pair]
    assert len(interleaved) == len(alone) == 2 * steps
    assert [ids for _, ids in interleaved] == [ids for _, ids in alone]  # the same batches, shared out
    losses = [torch.tensor([float(loss) for loss, _ in rows]) for rows in (interleaved, alone)]
    assert losses[0].unique().numel() == 2 * steps
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)
    same_weights(tmp_path / "ddp", tmp_path / "accumulated")


def same_weights(one, other):
    weights = [load_file(folder / "model.safetensors") for folder in (one, other)]
    for name, weight in weights[0].items():
        if "running" not in name and "num_batches" not in name:  # statistics are each process's own
            torch.testing.assert_close(weight, weights[1][name], rtol=0, atol=1e-5)
