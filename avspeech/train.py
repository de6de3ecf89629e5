"""Train with Lightning's CLI; configurations combine model, data and trainer.

    python -m avspeech.train fit --config configs/pretrain/base.yaml --config configs/data/lrs3.yaml \
        --config configs/trainer/gpu.yaml --data.init_args.train_units data/lrs3/train.km \
        --data.init_args.val_units data/lrs3/valid.km

Precision, devices, DDP and resuming (``--ckpt_path``) are Lightning's flags. A run writes ``.ckpt`` files for resuming
and ``model.safetensors`` for evaluation.
"""

import re
import sys
import warnings
from typing import Any, NoReturn

import jsonargparse
from lightning import Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from avspeech.noise.spec import OLD_KEYS
from avspeech.training.callbacks import SaveModelFile, StepProgressBar
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

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(SaveModelFile, "model_file")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        settings = self._get(self.config_init, "trainer", default={})
        if settings.get("enable_progress_bar") is not False:
            kwargs["callbacks"] = [*(settings.get("callbacks") or []), StepProgressBar()]
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
