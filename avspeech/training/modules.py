"""Shared by the training modules: random draws, optimiser and validation word error rate."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Generator, Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from avspeech.decoding.hypothesis import Hypothesis
from avspeech.evaluation.error_rate import count_normalized
from avspeech.inputs import AVBatch
from avspeech.models.base import Model
from avspeech.objectives.text_loss import teacher_tokens
from avspeech.text.normalize import text_language
from avspeech.text.tokenizer import Tokenizer
from avspeech.text.whisper_tokens import Task, WhisperTokenizer
from avspeech.training.engines import shard, tie
from avspeech.training.guards import HALVINGS, Guard, clip_gradients
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig, group_weights, rate_factor


class TrainingModule(LightningModule):
    """LightningModule that trains ``model``."""

    model: Model
    rates: Mapping[str, float] = {}
    """Learning-rate factors by a part of the weight's name."""
    judged_by = "val/loss"
    """Metric of the best model, the lower the better."""
    val_cost = 0.4
    """Time of a frame in validation over its time in training; measured on a CPU, as in ``FinetuneModule``'s."""

    def __init__(self, optimizer: OptimizerConfig, schedule: ScheduleConfig, seed: int) -> None:
        super().__init__()
        self.optimizer_config, self.schedule, self.seed = optimizer, schedule, seed
        self.guard: Guard | None = None  # from the start of training

    def batch_generator(self, batch_idx: int) -> Generator:
        """Return the CPU generator of a training batch, and seed torch's own for dropout.

        Batches are numbered over all processes since the first start of the run (``AVDataModule``): W processes draw
        what one with W accumulation steps draws, and a run that resumes on another number of them goes on.
        """
        trained = getattr(getattr(self.trainer, "datamodule", None), "batches_trained", None)
        before = batch_idx * self.trainer.world_size if trained is None else trained
        return step_generator(self.seed, before + self.global_rank)

    def configure_model(self) -> None:
        """Share the model out over the processes of a ModelParallelStrategy (FSDP2)."""
        if self.device_mesh is not None and not any(isinstance(one, DTensor) for one in self.model.parameters()):
            shard(self.model, self.device_mesh["data_parallel"])

    def on_train_start(self) -> None:
        self.guard = Guard(self.model, self.optimizer_config.max_skipped + (0 if self._scaler is None else HALVINGS))
        self.guard.start()

    def watch(self, batch: AVBatch, loss: Tensor, num_targets: Tensor) -> Tensor:
        """Return the loss of a training batch, for ``guard`` to judge."""
        if self.guard is None:
            return loss
        loss = self.guard.watch(batch.ids, loss, num_targets)
        return tie(loss, self.model.parameters()) if self.trainer.world_size > 1 else loss

    def frozen(self) -> Iterable[nn.Parameter]:
        """Weights that this update leaves alone, though they may have a gradient."""
        return ()

    @property
    def _scaler(self) -> Any:
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def configure_gradient_clipping(
        self, optimizer: Optimizer, gradient_clip_val: float | None = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Clip, and have the update skipped if the gradient is not finite; logs ``grad_norm``, ``skipped_updates``."""
        assert self.guard is not None
        for weight in self.frozen():
            weight.grad = None  # on several processes it is zero, which weight decay would act on
        norm = clip_gradients(optimizer, self._scaler, gradient_clip_val, gradient_clip_algorithm == "value")
        self.guard.judge(optimizer, norm)
        self.log_dict({"grad_norm": norm, "skipped_updates": self.guard.skipped})

    def check_losses(self) -> None:
        """Raise BadBatch if the updates so far must not become a model."""
        if self.guard is not None:
            self.guard.look()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.check_losses()

    def on_train_end(self) -> None:
        assert self.guard is not None
        self.guard.end()

    def configure_optimizers(self) -> Any:
        config, schedule = self.optimizer_config, self.schedule
        total_steps = schedule.total_steps or self.trainer.max_steps
        if schedule.decay in ("linear", "cosine") and schedule.decay_steps is None and total_steps <= 0:
            raise ValueError(f"schedule.decay={schedule.decay} needs the run's length: set trainer.max_steps")
        rates = {name: rate for name, rate in self.rates.items() if rate != 1}
        weights = group_weights(self.model, config, rates)
        adam = AdamW(weights, config.lr, config.betas, config.eps, config.weight_decay, fused=True)  # skips by a flag
        curve = LambdaLR(adam, lambda step: rate_factor(step, schedule, total_steps))
        return {"optimizer": adam, "lr_scheduler": {"scheduler": curve, "interval": "step"}}


class TextModule(TrainingModule):
    """Module of a model that gives text; validation logs ``wer``."""

    tokenizer: Tokenizer | WhisperTokenizer
    judged_by, val_cost = "val/wer", 0.6
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
