"""Shared by all importers: check a foreign state dict, fill a model, write weights back."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from avspeech.interop.restricted import read_checkpoint
from avspeech.models.base import Model
from avspeech.models.files import ModelFileError

M = TypeVar("M", bound=Model, covariant=True)


@dataclass(frozen=True)
class Imported(Generic[M]):
    """A model with the weights of an official checkpoint, in evaluation mode."""

    model: M
    dropped: dict[str, str]
    """Unused part of the file -> what became of it."""


def read_layout(path: Path, content: Any, weights: str, others: tuple[str, ...], owner: str) -> dict[str, Any]:
    """Return a checkpoint's content, read if ``content`` is None; ModelFileError unless it is of ``owner``'s layout.

    ``weights`` is the key of its state dict, ``others`` are further keys.
    """
    file = read_checkpoint(path) if content is None else content
    if not isinstance(file, dict) or not isinstance(file.get(weights), dict) or any(key not in file for key in others):
        found = f"keys {sorted(map(str, file))[:6]}" if isinstance(file, dict) else f"a {type(file).__name__}"
        wanted = " and ".join(repr(key) for key in (*others, weights))
        raise ModelFileError(f"{path} holds {found}; wanted {owner}'s {wanted}")
    if odd := [str(key) for key, value in file[weights].items() if not isinstance(value, Tensor)]:
        raise ModelFileError(f"{path} has something else than tensors in its state dict: {', '.join(odd[:5])}")
    return file


def tensor_keys(
    parts: Mapping[str, str], theirs: str = "", ours: str = "", names: Sequence[str] = ("weight", "bias")
) -> dict[str, str]:
    """Return official key -> our key of the tensors ``names`` of each part, official -> our name, under prefixes."""
    return {f"{theirs}{one}.{name}": f"{ours}{parts[one]}.{name}" for one in parts for name in names}


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn errors of sizes and settings into a ``ModelFileError`` that names the file."""
    try:
        yield
    except ModelFileError:
        raise
    except (KeyError, TypeError) as error:
        raise ModelFileError(f"{path} has a setting missing or of a wrong type: {error!r}") from error
    except (ValueError, ZeroDivisionError) as error:
        raise ModelFileError(f"{path}: {error}") from error


def new_model(
    make: Callable[[], M], state: Mapping[str, Tensor], keys: Mapping[str, str], path: Path, carry: Sequence[str] = ()
) -> M:
    """Return ``make()`` with a foreign state dict's weights, floats as fp32, in evaluation mode.

    ``keys`` (foreign -> ours) name every weight, ``carry`` further keys that are kept for export. ``make`` is called
    on the meta device, so that no weight is drawn. Raises ModelFileError if keys or shapes differ.
    """
    missing = [key for key in keys if key not in state]
    unknown = [key for key in state if key not in keys and key not in carry]
    if parts := [f"{what}: {_some(some)}" for what, some in (("missing", missing), ("unknown", unknown)) if some]:
        raise ModelFileError(f"{path} has other keys than a model of its sizes; {'; '.join(parts)}")
    with torch.device("meta"):
        model = make()
    weights = {ours: state[theirs] for theirs, ours in keys.items()}
    shapes = {name: (tuple(weights[name].shape), tuple(wanted.shape)) for name, wanted in model.state_dict().items()}
    if wrong := [
        f"{key} has {had}, its configuration says {said}" for key, (had, said) in shapes.items() if had != said
    ]:
        raise ModelFileError(f"{path} has weights of another shape: {'; '.join(wrong[:5])}")
    # clone: the file is memory-mapped; training must not hold it open or write to it
    weights = {key: (x.float() if x.is_floating_point() else x).clone() for key, x in weights.items()}
    model.load_state_dict(weights, assign=True)
    model.carried = {key: state[key].clone() for key in state if key in carry}
    return model.eval()


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:20]) + (f" and {len(keys) - 20} more" if len(keys) > 20 else "")


def dropped_parts(file: Mapping[str, Any], used: Sequence[str], model: Model) -> dict[str, str]:
    """Return the unused parts of a checkpoint and what became of each (``Imported.dropped``)."""
    dropped = dict.fromkeys(model.carried, "kept in the model file for the way back, not read")
    return dropped | {str(key): "dropped" for key, x in file.items() if key not in used and x not in (None, {}, [])}


def official_state(
    model: Model, keys: Mapping[str, str], dtype: torch.dtype | None = None, extra: Mapping[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """Return a model's weights under foreign names (``keys``: foreign -> ours), on the CPU.

    ``dtype`` is of the floats, None keeps the model's; ``extra`` are weights that the model lacks, by our key.
    """
    ours = {**model.state_dict(), **(extra or {})}
    state = {theirs: ours[name] if ours[name].is_meta else ours[name].cpu() for theirs, name in keys.items()}
    return {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}
