"""Any file of ours or of an official project -> our model, and back.

Keys tell the project: ``cfg`` and ``model`` (AV-HuBERT), ``dims`` and ``model_state_dict`` (OpenAI's Whisper), one
``state_dict`` in OpenAI's names (Whisper-Flamingo), or the weights themselves (LR-ASD).
"""

from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from avspeech.files import written_whole
from avspeech.interop.avhubert import export_checkpoint, import_checkpoint
from avspeech.interop.lr_asd import FIRST_KEY, export_lr_asd, import_lr_asd
from avspeech.interop.restricted import read_checkpoint
from avspeech.interop.state_dicts import Imported
from avspeech.interop.whisper import export_openai, import_openai
from avspeech.interop.whisper_flamingo import export_flamingo, import_flamingo
from avspeech.interop.whisper_flamingo_keys import Variant
from avspeech.models.cluster_predictor import ClusterPredictor
from avspeech.models.files import Model, ModelFileError, load_model
from avspeech.models.lr_asd import LrAsd
from avspeech.models.recognizer import Recognizer
from avspeech.models.whisper import Whisper

WANTED = "wanted a model file (.safetensors) or a checkpoint of AV-HuBERT, Whisper, Whisper-Flamingo or LR-ASD"
WhisperLayout = Literal["whisper", "whisper_flamingo"]
_FLAMINGO_KEY = "model.decoder.token_embedding.weight"
"""In every official Whisper-Flamingo file, but not in our training checkpoints."""


def load_any(path: str | Path, device: torch.device | str = "cpu") -> Model:
    """Return the model in a file of ours or an official one, in evaluation mode, floats as fp32.

    Raises ModelFileError if the file is missing, broken, of another kind or unsafe.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} {'is no regular file' if path.exists() else 'does not exist'}; {WANTED}")
    try:
        return _load(path).to(device)
    except ModelFileError:
        raise
    except (RuntimeError, KeyError, TypeError, ValueError) as error:  # a header that does not fit its weights
        raise ModelFileError(
            f"{path} holds weights that do not fit its header ({type(error).__name__}: {error}); download or export "
            "it again"
        ) from error


def _load(path: Path) -> Model:
    try:
        with safe_open(str(path), framework="pt"):
            pass
        return load_model(path)
    except (SafetensorError, OSError) as error:
        not_ours = str(error).removeprefix("Error while deserializing header: ")
    try:
        return import_official(path, read_checkpoint(path)).model
    except ModelFileError as error:
        reason = str(error).removeprefix(f"{path} ")
        if "is no whole" not in reason:
            raise
        raise ModelFileError(
            f"{path} is no model: it is no safetensors file ({not_ours}), and as a checkpoint it {reason}; {WANTED}"
        ) from error


def import_official(path: str | Path, content: Any = None, **options: Any) -> Imported[Model]:
    """Read a checkpoint of AV-HuBERT, Whisper, Whisper-Flamingo or LR-ASD.

    ``content`` is of ``read_checkpoint``, None reads the file; ``options`` are those of ``import_checkpoint``,
    ``import_openai`` or ``import_flamingo``, where None means "not given". Raises ModelFileError if the file is
    broken, unsafe or of another program, or an option is of another project.
    """
    path = Path(path)
    content = read_checkpoint(path) if content is None else content
    if not isinstance(content, dict):
        raise ModelFileError(f"{path} is a PyTorch file that holds a {type(content).__name__}; {WANTED}")
    state = content.get("state_dict")
    if "dims" in content and "model_state_dict" in content:
        read, known = import_openai, ("official_padding", "name")
    elif "cfg" in content and "model" in content:
        read, known = import_checkpoint, ("dictionary", "sentencepiece")
    elif isinstance(state, dict) and _FLAMINGO_KEY in state:
        read, known = import_flamingo, ("audio_heads", "text_heads", "video_heads", "video_pre_norm", "official")
    elif FIRST_KEY in content:
        read, known = import_lr_asd, ()
    elif "pytorch-lightning_version" in content:
        what = "is a training checkpoint of Lightning, which resumes a run; wanted the model.safetensors"
        raise ModelFileError(f"{path} {what} that the run wrote")
    else:
        keys = ", ".join(map(str, list(content)[:5])) or "none"
        raise ModelFileError(f"{path} is a PyTorch file of another program (its keys: {keys}); {WANTED}")
    given = {name: value for name, value in options.items() if value is not None}
    if foreign := sorted(set(given) - set(known)):
        takes = ", ".join(known) or "no option"
        raise ModelFileError(f"{', '.join(foreign)} came for {path}, which takes {takes}; leave it out")
    return read(path, content=content, **given)


def export_official(
    model: Model,
    path: Path,
    layout: WhisperLayout | None = None,
    variant: Variant | None = None,
    half: bool | None = None,
) -> None:
    """Write a model as its project's checkpoint; ValueError if the official code lacks a part.

    ``layout=None`` is Whisper-Flamingo's for a Flamingo or its weights, else OpenAI's (no video); ``half=None``
    writes float16 for OpenAI's only. ``variant`` is of ``export_flamingo``.
    """
    if isinstance(model, ClusterPredictor | Recognizer):
        content: dict[str, Any] = export_checkpoint(model)
    elif isinstance(model, LrAsd):
        content = export_lr_asd(model)
    else:
        assert isinstance(model, Whisper)
        imported = (model.source or {}).get("model") == "whisper_flamingo"
        if (layout or ("whisper_flamingo" if model.has_video or imported else "whisper")) == "whisper":
            content = export_openai(model, None if half is False else torch.float16)
        else:
            content = export_flamingo(model, torch.float16 if half else torch.float32, variant)
    with written_whole(path) as unfinished:
        torch.save(content, unfinished)
