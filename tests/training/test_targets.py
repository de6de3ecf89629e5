"""Labels that teach nothing, and losses that are no numbers, stop a run and are named."""

import logging
from dataclasses import replace
from functools import partial

import pytest
import torch

from avspeech.data.limits import check_alignable
from avspeech.manifest import ManifestError, Utterance, read_manifest, write_manifest
from avspeech.objectives.text_loss import ctc_loss
from avspeech.sequence import ctc_steps
from avspeech.text.tokenizer import Tokenizer
from avspeech.train import main
from avspeech.training.guards import EMPTY, WATCHED, BadBatch, Guard, clip_gradients
from tests.training.test_training import finetuning, pretraining

CTC = ("--model.init_args.ctc_weight=1.0",)
LETTERS = Tokenizer.fit(["abcdef hello"], "characters")


def test_steps_are_those_that_ctc_needs():
    """Against the loss itself: it is infinite with a step less, and finite with these."""
    tokens_BL = torch.tensor([[4, 5, 6, 7], [4, 4, 4, 4], [5, 5, 6, 6], [6, 6, 0, 0], [7, 0, 0, 0], [0, 0, 0, 0]])
    lengths_B = torch.tensor([4, 4, 4, 2, 1, 0])
    needed_B = ctc_steps(tokens_BL, lengths_B)
    assert needed_B.tolist() == [4, 7, 6, 3, 1, 0]
    for tokens_L, length, needed in zip(tokens_BL, lengths_B, needed_B, strict=True):
        for steps, aligned in ((int(needed), True), (int(needed) - 1, False)):
            if steps > 0:
                loss = ctc_loss(torch.zeros(1, steps, 9), torch.tensor([steps]), tokens_L[None], length[None])
                assert bool(loss > 0) is aligned


@pytest.mark.parametrize(
    "text", ["abcdefabcdef", "aaaaaa", "hello hello"], ids=["too many", "repeated", "one blank short"]
)
def test_texts_that_cannot_be_aligned_are_listed_or_an_error(text, caplog):
    clips = [Utterance(f"u{number}", num_frames=11, text="abc") for number in range(9)]
    clips.append(Utterance("odd", num_frames=11, text=text))
    frames = [10 if text == "aaaaaa" else 11] * 10
    with caplog.at_level(logging.WARNING):
        check_alignable(clips, frames, LETTERS, "m.jsonl", 0.1)
    assert "1 of 10 clips" in caplog.text and "odd (" in caplog.text and "u1" not in caplog.text
    with pytest.raises(ManifestError, match=r"m\.jsonl: the texts of 1 of 10 clips.*odd \(.*At most 5%.*ctc_upsample"):
        check_alignable(clips, frames, LETTERS, "m.jsonl", 0.05)
    caplog.clear()
    check_alignable(clips, [2 * count for count in frames], LETTERS, "m.jsonl", 0)
    assert not caplog.text


def test_a_run_on_texts_of_other_clips_does_not_start(corpus, tokenizer_file, tmp_path):
    """Forty times the text."""
    for split in ("train", "val"):
        clips = read_manifest(corpus / f"{split}.jsonl")
        write_manifest(
            tmp_path / f"{split}.jsonl", (replace(one, text=f"{one.text} " * 40, words=None) for one in clips)
        )
    with pytest.raises(ManifestError, match=r"12 of 12 clips have more tokens.*train0 \("):
        main(finetuning(tmp_path, tmp_path / "out", 2, tokenizer_file, *CTC))
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("task", ["ctc", "attention", "pretraining"])
def test_a_loss_that_is_no_number_stops_the_run_with_its_clips(task, corpus, tokenizer_file, tmp_path):
    options = (f"--model.init_args.optimizer.lr={1e30}", "--trainer.val_check_interval=1000")
    steps = 14
    if task == "pretraining":
        run = pretraining(corpus, tmp_path, steps, *options)
    else:
        run = finetuning(corpus, tmp_path, steps, tokenizer_file, *options, *(CTC if task == "ctc" else ()))
    with pytest.raises(
        BadBatch, match=r"the loss is (nan|inf) in a batch of train\d+(, train\d+)*, and 10 updates in a row"
    ):
        main(run)
    assert not (tmp_path / "model.safetensors").exists()


class Watched:
    """A guard over a training of one weight; each ``see`` is a batch and an update."""

    def __init__(self, limit: int = 1) -> None:
        self.guard = Guard(torch.nn.Identity(), limit)
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.adam = torch.optim.AdamW([self.weight], fused=True)

    def see(self, name: str, loss: float = 1.0, num_targets: int = 0) -> None:
        self.guard.watch((name,), self.weight * loss, torch.tensor(num_targets)).backward()
        self.guard.judge(self.adam, clip_gradients(self.adam, None, None, False))
        self.adam.step()
        self.adam.zero_grad()


def test_a_run_without_any_target_stops_and_names_its_clips():
    for run, seen in ((Watched(), EMPTY - 1), (Watched(), 3)):
        for number in range(seen):
            run.see(f"u{number}")
        stop = run.guard.end if seen == 3 else partial(run.see, "last")  # a long run stops at once
        with pytest.raises(BadBatch, match=rf"none of {EMPTY if seen > 3 else 3} batches has a target.*u0, u1, u2"):
            stop()


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -float("inf")])
def test_batches_without_a_finite_loss_are_named(loss):
    run = Watched(limit=2)
    run.see("u0", num_targets=3)
    run.see("u1", loss, num_targets=3)
    with pytest.raises(BadBatch, match=r"the loss is -?(nan|inf) in a batch of u2, and 2 updates in a row.*u1, u2, or"):
        run.see("u2", loss, num_targets=3)


def test_batches_without_a_target_are_no_error_beside_others():
    run = Watched()
    run.see("u0", num_targets=3)
    for _ in range(EMPTY):
        run.see("u1")
    run.guard.end()


def test_a_gpu_is_asked_now_and_then_but_before_every_checkpoint():
    run = Watched()
    run.guard.look = lambda: None  # type: ignore[method-assign] # no GPU here: what is kept there
    run.see("good", num_targets=1)
    run.see("bad", float("nan"), num_targets=1)
    del run.guard.look
    with pytest.raises(BadBatch, match="nan in a batch of bad,"):
        run.guard.look()
    assert WATCHED > 1
