"""Shared by the training modules: random draws, optimiser and validation word error rate."""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from lightning import LightningModule
from torch import Generator

from avspeech.decoding.hypothesis import Hypothesis
from avspeech.evaluation.error_rate import count_normalized
from avspeech.inputs import AVBatch
from avspeech.models.base import Model
from avspeech.text.normalize import text_language
from avspeech.training.schedules import OptimizerConfig, ScheduleConfig, make_optimizer


class TrainingModule(LightningModule):
    """LightningModule that trains ``model``."""

    model: Model
    optimizer_config: OptimizerConfig
    schedule: ScheduleConfig
    rates: Mapping[str, float] = {}
    """Learning-rate factors by a part of the weight's name."""
    seed: int

    def batch_generator(self, batch_idx: int) -> Generator:
        """Return the CPU generator of a training batch, and seed torch's own for dropout.

        Batches are numbered over all processes: W processes draw what one process with W accumulation steps draws.
        """
        return step_generator(self.seed, batch_idx * self.trainer.world_size + self.global_rank)

    def configure_optimizers(self):
        rates = {name: rate for name, rate in self.rates.items() if rate != 1}
        trainer = self.trainer
        return make_optimizer(
            self.model, self.optimizer_config, self.schedule, trainer.max_steps, trainer.precision, rates
        )


class TextModule(TrainingModule):
    """Module of a model that gives text; validation logs ``wer``."""

    normalization = "none"
    """Rule of ``avspeech.text.normalize`` for ``wer``."""
    task = "transcribe"

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


def step_seed(seed: int, number: int) -> int:
    """Return a 63-bit seed from (seed, batch number)."""
    digest = hashlib.sha256(f"{seed},{number},0".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def step_generator(seed: int, number: int) -> Generator:
    """Return a CPU generator from (seed, number), and seed torch's own; a resumed run repeats its draws."""
    torch.manual_seed(step_seed(seed, number) ^ 1)
    return Generator().manual_seed(step_seed(seed, number))
