"""LR-ASD's released checkpoints (github.com/Junhua-Liao/LR-ASD, MIT) -> ``LrAsd``, and back: one state dict."""

from pathlib import Path
from typing import Any

import torch

from avspeech.interop.restricted import read_checkpoint
from avspeech.interop.state_dicts import Imported, dropped_parts, new_model, official_state
from avspeech.models.files import ModelFileError
from avspeech.models.lr_asd import LrAsd

_PARTS = {"visual": "model.visualEncoder", "audio": "model.audioEncoder", "fusion": "model.fusion"}
_PARTS |= {"detector": "model.detector", "head": "lossAV.FC"}
"""Our part -> theirs; names within parts are the same."""
TRAINING_ONLY = ("lossV.FC.weight", "lossV.FC.bias")  # the loss of the picture alone
FIRST_KEY = "model.visualEncoder.block1.s_1.weight"
"""In every LR-ASD file, and no other of ours."""


def official_keys() -> dict[str, str]:
    """Return LR-ASD's key -> our key of every weight and statistic."""
    with torch.device("meta"):
        names = LrAsd().state_dict()
    return {name.replace(part := name.partition(".")[0], _PARTS[part], 1): name for name in names}


def import_lr_asd(path: str | Path, content: Any = None) -> Imported[LrAsd]:
    """Read a checkpoint. Raises ModelFileError if it is broken, unsafe or does not fit."""
    path = Path(path)
    state = read_checkpoint(path) if content is None else content
    if not isinstance(state, dict) or FIRST_KEY not in state:
        raise ModelFileError(f"{path} has no {FIRST_KEY}; wanted LR-ASD's state dict, such as finetuning_TalkSet.model")
    if odd := [str(key) for key, value in state.items() if not isinstance(value, torch.Tensor)]:
        raise ModelFileError(f"{path} has something else than tensors in its state dict: {', '.join(odd[:5])}")
    model = new_model(LrAsd, state, official_keys(), path, carry=TRAINING_ONLY)
    model.source = {"model": "lr_asd"}
    return Imported(model, dropped_parts({}, (), model))


def export_lr_asd(model: LrAsd) -> dict[str, torch.Tensor]:
    """Return the state dict that LR-ASD's code loads; without the loss of the picture alone if the file had none."""
    return {**official_state(model, official_keys()), **model.carried}
