"""Train with Lightning's CLI; configurations combine model, data and trainer.

    python -m avspeech.train fit --config configs/pretrain/base.yaml --config configs/data/lrs3.yaml \
        --config configs/trainer/gpu.yaml --data.init_args.train_units data/lrs3/train.km \
        --data.init_args.val_units data/lrs3/valid.km

Precision, devices, DDP and resuming (``--ckpt_path``) are Lightning's flags. A run writes ``.ckpt`` files for resuming,
and ``model.safetensors`` and ``model.best.safetensors`` for evaluation. ``--log_to=wandb`` (tensorboard, mlflow, csv)
sends the curves there too. ``--trainer.callbacks+=EMAWeightAveraging`` makes the model files those of the mean weights.
"""

import re
import sys
import warnings
from pathlib import Path
from typing import Any, NoReturn

import jsonargparse
from lightning import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import Logger

from avspeech.noise.spec import OLD_KEYS
from avspeech.training.callbacks import SaveModelFile, StepProgressBar
from avspeech.training.dials import Dials, Target, make_loggers
from avspeech.training.engines import Preemption
from avspeech.training.guards import BadBatch

MOVED = {
    "p_drop": "modality_dropout.p_both, which is 1 - p_drop",
    "p_audio": "modality_dropout.p_video_only in pre-training and fine-tuning, p_audio_only in Flamingo training",
    "p_av": "modality_dropout.p_both",
    "drop_per_batch": "modality_dropout.per_batch",
}
"""Old configuration keys and their new names."""


class TrainParser(LightningArgumentParser):
    """Parser that suggests the new name of an old key."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        unknown = "not accepted" in message or "not expected" in message
        hints = [f"{key} is now {new}" for key, new in MOVED.items() if unknown and re.search(rf"\b{key}\b", message)]
        for old, new in OLD_KEYS.items():
            key, _, value = old.partition(": ")
            hint = f"noise.{old} is now {new}"
            named = f"value: {value}" if value else f"option '{key}'"
            if "noise" in message and named in message and hint not in message:
                hints.append(hint)
        super().error("\n".join([message, *hints]), ex)


class TrainCLI(LightningCLI):
    """LightningCLI that always writes the model file and counts progress in steps."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Return Lightning's commands without ``test`` and ``predict``: ``avspeech.evaluate`` does that."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name in ("fit", "validate")}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(SaveModelFile, "model_file")
        parser.add_lightning_class_args(Dials, "dials")
        told = "log also to csv, tensorboard, wandb or mlflow (a list: [csv, wandb]), beside trainer.logger"
        parser.add_argument("--log_to", type=list[Target] | Target | None, default=None, help=told)

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings, log_to = self._get(self.config_init, "trainer", default={}), self._get(self.config_init, "log_to")
        kwargs["callbacks"] = [*(settings.get("callbacks") or []), Preemption()]
        if settings.get("enable_progress_bar") is not False:
            kwargs["callbacks"].append(StepProgressBar())
        if log_to:
            given = settings.get("logger")  # True is Lightning's choice, which is not needed then
            folder = Path(settings.get("default_root_dir") or ".").resolve()
            own = given if isinstance(given, list) else [given] if isinstance(given, Logger) else []
            kwargs["logger"] = [*own, *make_loggers(log_to, folder)]
        if log_to or settings.get("logger") not in (None, False):
            kwargs["callbacks"].append(LearningRateMonitor("step"))
        return super().instantiate_trainer(**kwargs)


def main(args: ArgsType = None, run: bool = True) -> LightningCLI:
    """Parse ``args`` (None: the command line) and run; ``run=False`` only builds the objects."""
    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    # Lightning calls jsonargparse's former names; that is theirs to change.
    warnings.filterwarnings("ignore", message="(?s).*(deprecated in v4|JsonargparseDeprecationWarning)")
    return TrainCLI(
        parser_class=TrainParser,
        subclass_mode_model=True,
        subclass_mode_data=True,
        auto_configure_optimizers=False,
        run=run,
        args=args,
        seed_everything_default=0,
        save_config_kwargs={"overwrite": True},
        # The training order has no end, so runs are counted in steps; TrainingBatches shares the batches out itself.
        trainer_defaults={"max_epochs": -1, "use_distributed_sampler": False},
    )


if __name__ == "__main__":
    try:
        main()
    except BadBatch as error:  # the reason alone, status 1
        sys.exit(f"{error}")
