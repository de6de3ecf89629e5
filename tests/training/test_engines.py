"""Several processes: weights that a batch does not use, signals, two nodes."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from avspeech.models.encoder import EncoderConfig
from avspeech.models.files import load_model
from avspeech.train import main
from avspeech.training.engines import STOPPED, tie
from tests.training.test_training import CHECKPOINT, ENCODER, ROOT, finetuning, pretraining

CPUS = ["--trainer.devices=2", "--trainer.accelerator=cpu", "--trainer.limit_val_batches=0"]
DROPS = [f"--model.init_args.encoder={ENCODER.replace('depth: 1', 'depth: 3').replace('drop: 0.2', 'drop: 0.5')}"]


@pytest.fixture
def alone(tmp_path):
    distributed.init_process_group(
        "gloo", store=distributed.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1
    )
    yield
    distributed.destroy_process_group()


class Branches(nn.Module):
    def __init__(self, ties):
        super().__init__()
        self.branches, self.ties = nn.ModuleList(nn.Linear(2, 2) for _ in range(2)), ties

    def forward(self, x, number):
        loss = self.branches[number](x).sum()
        return tie(loss, self.parameters()) if self.ties else loss


@pytest.mark.parametrize("static_graph", [False, True])
def test_a_process_need_not_use_all_weights_of_each_batch(static_graph, alone):
    model = DistributedDataParallel(Branches(ties=True), static_graph=static_graph)
    for number in (0, 1, 1, 0):
        model.zero_grad()
        model(torch.ones(3, 2), number).backward()
        gradients = [branch.weight.grad for branch in model.module.branches]
        assert bool((gradients[number] == 3).all()) and (
            gradients[1 - number] is None or not gradients[1 - number].any()
        )
    other = DistributedDataParallel(Branches(ties=False))
    other(torch.ones(3, 2), 0).backward()
    with pytest.raises(RuntimeError, match="Expected to have finished reduction"):
        other(torch.ones(3, 2), 1)


def test_layers_drop_by_their_chance_and_take_no_gradient_then():
    sizes = {"width": 8, "num_heads": 2, "ffn_width": 8, "position_kernel": 3, "position_groups": 2}
    still = {f"{part}dropout": 0.0 for part in ("", "attention_", "activation_", "input_")}
    encoder = EncoderConfig(**sizes, **still, depth=40, layer_drop=0.25).build()
    encoder.video_frontend = nn.Identity()
    valid_BT = torch.ones(1, 4, dtype=torch.bool)
    encoder(torch.randn(1, 4, 104), None, valid_BT).sum().backward()
    left_out = [not block.ffn.inner.weight.grad.any() for block in encoder.blocks]
    assert 3 <= sum(left_out) <= 18
    encoder.eval().zero_grad()
    encoder(torch.randn(1, 4, 104), None, valid_BT).sum().backward()
    assert all(block.ffn.inner.weight.grad.any() for block in encoder.blocks)


def run(arguments, **more):
    command = [sys.executable, "-m", "avspeech.train", *arguments]
    more |= {"stderr": subprocess.PIPE, "stdout": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, cwd=ROOT, start_new_session=True, **more)


def ended(process, within_s=600):
    """Return the status; nothing of the process's session outlives this."""
    try:
        return process.wait(within_s)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


STATIC = '{"class_path": "lightning.pytorch.strategies.DDPStrategy", "init_args": {"static_graph": true}}'


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", STATIC], ids=["ddp", "static_graph"])
def test_layer_drop_trains_on_two_processes(strategy, corpus, tmp_path):
    process = run(pretraining(corpus, tmp_path, 20, *CPUS, *DROPS, f"--trainer.strategy={strategy}"))
    assert ended(process) == 0, process.stderr.read()[-3000:]
    assert (tmp_path / "model.safetensors").exists()


@pytest.mark.slow
def test_frozen_weights_stay_on_two_processes(corpus, tokenizer_file, tmp_path):
    frozen = [*CPUS, "--model.init_args.freeze_steps=2", "--model.init_args.optimizer.weight_decay=0.5"]
    for steps in (2, 3):
        arguments = finetuning(corpus, tmp_path / str(steps), steps, tokenizer_file, *frozen, "--trainer.strategy=ddp")
        arguments.append("--model.init_args.schedule.decay=constant")
        process = run(arguments)
        assert ended(process) == 0, process.stderr.read()[-3000:]
    start = main([*arguments[1:], "--trainer.devices=1", "--trainer.strategy=auto"], run=False).model.model.state_dict()
    two, three = (load_file(tmp_path / f"{steps}/model.safetensors") for steps in (2, 3))
    inner, head = "encoder.blocks.0.ffn.inner.weight", "ctc_head.weight"
    assert torch.equal(start[inner], two[inner]) and not torch.equal(two[inner], three[inner])
    assert not torch.equal(start[head], two[head])


@pytest.mark.slow
@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_two_processes_with_a_checkpoint_that_goes_on(told, corpus, tmp_path):
    schedule = "--model.init_args.schedule.decay=constant"
    each = ["--trainer.strategy=ddp", schedule, *CHECKPOINT, "--trainer.callbacks.init_args.every_n_train_steps=2"]
    process = run(pretraining(corpus, tmp_path, 100_000, *CPUS, *DROPS, *each))
    until_s = time.monotonic() + 600
    while not list(tmp_path.rglob("*.ckpt")) and time.monotonic() < until_s:
        time.sleep(0.2)
    process.send_signal(told)
    start_s = time.monotonic()
    assert ended(process, 200) == STOPPED, process.stderr.read()[-3000:]
    assert time.monotonic() - start_s < 30
    (last,) = tmp_path.rglob("last.ckpt")
    done = torch.load(last, weights_only=True, map_location="cpu")["global_step"]
    again = pretraining(corpus, tmp_path, done + 2, *CPUS, *DROPS, *each, "--ckpt_path=last")
    process = run(again)
    assert ended(process) == 0, process.stderr.read()[-3000:]
    steps = [torch.load(path, weights_only=True)["global_step"] for path in tmp_path.rglob("*.ckpt")]
    assert max(steps) in (done + 1, done + 2)  # it went on, and did not start anew


@pytest.mark.slow
def test_two_nodes_of_torchrun_train_as_two_processes_of_one(corpus, tmp_path):
    options = [*CPUS[1:], *DROPS, "--trainer.strategy=ddp"]
    arguments = pretraining(corpus, tmp_path / "nodes", 3, *options, "--trainer.num_nodes=2", "--trainer.devices=1")
    meet = ["--nnodes=2", "--nproc_per_node=1", "--rdzv_backend=c10d", "--rdzv_id=1", "--rdzv_endpoint=127.0.0.1:29653"]
    command = [sys.executable, "-m", "torch.distributed.run", *meet, "-m", "avspeech.train", *arguments]
    nodes = [
        subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) for _ in "ab"
    ]
    assert [ended(node) for node in nodes] == [0, 0], nodes[0].stderr.read()[-3000:]
    process = run(pretraining(corpus, tmp_path / "one", 3, *CPUS, *DROPS, "--trainer.strategy=ddp"))
    assert ended(process) == 0
    nodes, one = (load_file(tmp_path / name / "model.safetensors") for name in ("nodes", "one"))
    for name, weight in one.items():
        torch.testing.assert_close(nodes[name], weight)


@pytest.mark.parametrize("path", sorted(Path(ROOT, "configs/trainer").glob("*.s*")), ids=lambda path: path.name)
def test_a_template_is_sound_shell(path):
    assert subprocess.run(["bash", "-n", path], check=False, env=os.environ).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["predictor", "flamingo"])
def test_a_model_in_shards_is_updated_and_saved_as_a_whole_one(kind, tmp_path):
    command = [sys.executable, "-m", "tests.training.sharded_update", kind, tmp_path]
    more = {"cwd": ROOT, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    both = [subprocess.Popen([*command, str(rank)], **more) for rank in range(2)]
    assert [ended(one) for one in both] == [0, 0], both[0].stderr.read()[-3000:]


@pytest.mark.slow
def test_lightning_trains_in_shards(corpus, tmp_path):
    process = run(
        pretraining(
            corpus,
            tmp_path,
            3,
            *CPUS,
            '--trainer.strategy={"class_path": "lightning.pytorch.strategies.ModelParallelStrategy"}',
        )
    )
    assert ended(process) == 0, process.stderr.read()[-3000:]
    assert load_model(tmp_path / "model.safetensors").num_units == (4,)
