"""What training modules share: draws that depend on the batch's number, the optimiser, and validation's error rate."""

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
    """A module that trains ``model``."""

    model: Model
    optimizer_config: OptimizerConfig
    schedule: ScheduleConfig
    rates: Mapping[str, float] = {}
    """Factors on the learning rate of weights by a part of their name."""
    seed: int

    def batch_generator(self, batch_idx: int) -> Generator:
        """Return the generator of a training batch's draws, and seed torch's own, which dropout uses.

        Batches are numbered over all processes, so that W processes draw what one process draws that accumulates
        gradients over the same batches.
        """
        return step_generator(self.seed, batch_idx * self.trainer.world_size + self.global_rank)

    def configure_optimizers(self):
        rates = {name: rate for name, rate in self.rates.items() if rate != 1}
        trainer = self.trainer
        return make_optimizer(
            self.model, self.optimizer_config, self.schedule, trainer.max_steps, trainer.precision, rates
        )


class TextModule(TrainingModule):
    """A module whose model gives text. Validation logs the word error rate ``wer``."""

    normalization = "none"
    """Rule of ``avspeech.text.normalize`` for ``wer``."""
    task = "transcribe"

    def on_validation_epoch_start(self) -> None:
        self._errors = self._words = 0

    def count_words(self, batch: AVBatch, nbest: Sequence[Sequence[Hypothesis]]) -> None:
        """Add the errors of a batch's best hypotheses to ``wer``."""
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
    """Return a 63-bit number that is practically unique to (seed, number of the batch)."""
    digest = hashlib.sha256(f"{seed},{number},0".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def step_generator(seed: int, number: int) -> Generator:
    """Return a CPU generator for the draws of one batch, and seed torch's own.

    Both depend on (seed, number) alone, so that a resumed run draws the same.
    """
    torch.manual_seed(step_seed(seed, number) ^ 1)
    return Generator().manual_seed(step_seed(seed, number))
