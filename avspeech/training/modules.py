"""Shared by the training modules: random draws, optimiser and validation word error rate."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Generator, Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from avspeech.data.limits import LISTED
from avspeech.decoding.hypothesis import Hypothesis
from avspeech.evaluation.error_rate import count_normalized
from avspeech.inputs import AVBatch
from avspeech.models.base import Model
from avspeech.objectives.text_loss import teacher_tokens
from avspeech.text.normalize import text_language
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import Task, WhisperTokenizer
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig, group_weights, rate_factor

WATCHED = 20  # batches between two checks of their losses on a GPU, where a check waits for all work before it
EMPTY = 100  # batches without a target that end a run, if there was none with one before


class BadBatch(ValueError):
    """A batch gave no usable loss; the message names its clips."""


class TrainingModule(LightningModule):
    """LightningModule that trains ``model``."""

    model: Model
    rates: Mapping[str, float] = {}
    """Learning-rate factors by a part of the weight's name."""

    def __init__(self, optimizer: OptimizerConfig, schedule: ScheduleConfig, seed: int) -> None:
        super().__init__()
        self.optimizer_config, self.schedule, self.seed = optimizer, schedule, seed
        self._watched: list[tuple[Sequence[str], Tensor]] = []  # (loss, number of targets) of batches to check
        self._empty: list[str] | None = []  # clips of the batches without a target; None once there was one
        self._num_empty = 0

    def batch_generator(self, batch_idx: int) -> Generator:
        """Return the CPU generator of a training batch, and seed torch's own for dropout.

        Batches are numbered over all processes: W processes draw what one process with W accumulation steps draws.
        """
        return step_generator(self.seed, batch_idx * self.trainer.world_size + self.global_rank)

    def watch(self, batch: AVBatch, loss: Tensor, num_targets: Tensor) -> Tensor:
        """Return the loss of a training batch, which ``check_losses`` will check."""
        self._watched.append((batch.ids, torch.stack([loss.detach().float(), num_targets.float()])))
        if loss.device.type == "cpu" or len(self._watched) >= WATCHED:
            self.check_losses()
        return loss

    def check_losses(self) -> None:
        """Raise BadBatch at the first batch since the last check whose loss is not finite, or if no batch has a target.

        Also called before a model or a checkpoint is written.
        """
        watched, self._watched = self._watched, []
        for (ids, _), (loss, num_targets) in zip(watched, [values.tolist() for _, values in watched], strict=True):
            if not math.isfinite(loss):
                raise BadBatch(
                    f"the loss is {loss} in a batch of {', '.join(ids)}; look at these clips, or lower "
                    "model.init_args.optimizer.lr"
                )
            if num_targets > 0:
                self._empty = None
            elif self._empty is not None:
                self._empty, self._num_empty = self._empty + list(ids), self._num_empty + 1
                if self._num_empty == EMPTY:
                    raise self._no_target()

    def _no_target(self) -> BadBatch:
        clips = ", ".join(list(dict.fromkeys(self._empty or ()))[:LISTED])
        return BadBatch(
            f"none of {self._num_empty} batches has a target to learn, so the loss teaches nothing: do the labels fit "
            f"the clips? They are of {clips}"
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.check_losses()

    def on_train_end(self) -> None:
        self.check_losses()
        if self._empty:
            raise self._no_target()

    def configure_optimizers(self) -> Any:
        config, schedule = self.optimizer_config, self.schedule
        total_steps = schedule.total_steps or self.trainer.max_steps
        if schedule.decay in ("linear", "cosine") and schedule.decay_steps is None and total_steps <= 0:
            raise ValueError(f"schedule.decay={schedule.decay} needs the run's length: set trainer.max_steps")
        rates = {name: rate for name, rate in self.rates.items() if rate != 1}
        # The default loops over weights on a CPU. Lightning refuses fused with mixed precision and clipping.
        fused = True if self.trainer.precision == "32-true" else None
        weights = group_weights(self.model, config, rates)
        adam = AdamW(weights, config.lr, config.betas, config.eps, config.weight_decay, fused=fused)
        curve = LambdaLR(adam, lambda step: rate_factor(step, schedule, total_steps))
        return {"optimizer": adam, "lr_scheduler": {"scheduler": curve, "interval": "step"}}


class TextModule(TrainingModule):
    """Module of a model that gives text; validation logs ``wer``."""

    tokenizer: Tokenizer | WhisperTokenizer
    normalization = "none"
    """Rule of ``avspeech.text.normalize`` for ``wer``."""
    task: Task = "transcribe"

    def teacher(self, batch: AVBatch) -> tuple[Tensor, Tensor]:
        """Return decoder inputs and targets (``teacher_tokens``). Raises ValueError if the batch has no tokens."""
        if batch.tokens_BL is None:
            raise ValueError("the batch has no tokens: every utterance of the manifest needs a 'text'")
        languages = batch.languages or [None] * len(batch.tokens_BL)
        prompts = [self.tokenizer.prompt(language, self.task) for language in languages]
        prompt_BL = torch.tensor(prompts, device=batch.tokens_BL.device)
        return teacher_tokens(prompt_BL, batch.tokens_BL, self.tokenizer.end, self.tokenizer.pad)

    def on_validation_epoch_start(self) -> None:
        self._errors = self._words = 0

    def count_words(self, batch: AVBatch, nbest: Sequence[Sequence[Hypothesis]]) -> None:
        """Add the errors of a batch to ``wer``."""
        for reference, language, found in zip(batch.texts, batch.languages, nbest, strict=True):
            written = text_language(language or "", self.task)
            counts = count_normalized(reference or "", found[0].text, written, self.normalization)
            self._errors += counts.word_errors
            self._words += counts.num_words

    def on_validation_epoch_end(self) -> None:
        totals = torch.tensor([self._errors, self._words], dtype=torch.float32, device=self.device)
        totals = self.all_gather(totals).reshape(-1, 2).sum(dim=0)  # type: ignore[union-attr]
        self.log("val/wer", totals[0] / totals[1].clamp(min=1), prog_bar=True)


def step_generator(seed: int, number: int) -> Generator:
    """Return a CPU generator from (seed, number), and seed torch's own; a resumed run repeats its draws."""
    digest = hashlib.sha256(f"{seed},{number},0".encode()).digest()
    drawn = int.from_bytes(digest[:8], "big") >> 1
    torch.manual_seed(drawn ^ 1)
    return Generator().manual_seed(drawn)
