"""Read a pickled PyTorch checkpoint without running code from it.

The classes of fairseq, omegaconf and sentencepiece listed here become inert stand-ins. torch's restricted unpickler
(``weights_only``) reads tensors and plain containers, and refuses every other name.
"""

import contextlib
import io
import pickletools
import re
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.serialization import safe_globals

from avspeech.models.files import ModelFileError

_KNOWN = {
    "fairseq.data.dictionary": "Dictionary",
    "fairseq.data.encoders.sentencepiece_bpe": "SentencepieceBPE SentencepieceConfig",
    "fairseq.dataclass.configs": "FairseqConfig",
    "fairseq.dataclass.constants": "DDP_BACKEND_CHOICES LOG_FORMAT_CHOICES PIPELINE_CHECKPOINT_CHOICES "
    "ZERO_SHARDING_CHOICES",
    "fairseq.dataclass.utils": "ChoiceEnum",
    "sentencepiece": "SentencePieceProcessor",
    "argparse": "Namespace",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.nodes": "AnyNode BooleanNode EnumNode FloatNode IntegerNode StringNode ValueNode",
    "typing": "Any",
    "builtins": "dict list tuple int float str bool",
    "numpy.core.multiarray": "scalar _reconstruct",
    "numpy._core.multiarray": "scalar _reconstruct",
    "numpy": "dtype ndarray",
}
"""Module -> its classes that become stand-ins."""
_PLAIN = ("collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.set", "builtins.bytearray")
"""Other names that torch's restricted unpickler builds."""


class Inert:
    """Stand-in for an object of a class that is not loaded."""

    origin = ""
    args: tuple[Any, ...] = ()
    state: Any = None

    def __new__(cls, *args: Any) -> "Inert":
        made = super().__new__(cls)
        made.args = args
        return made

    def __setstate__(self, state: Any) -> None:
        self.state = state


_STAND_INS: dict[str, type[Inert]] = {
    f"{module}.{name}": type("Inert", (Inert,), {"origin": f"{module}.{name}"})
    for module, names in _KNOWN.items()
    for name in names.split()
}


def read_checkpoint(path: str | Path) -> Any:
    """Load a file of ``torch.save`` without running its code; known classes become ``Inert`` objects.

    Raises ModelFileError if the file is missing, broken, or names an unknown class or function.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist or is no file")
    is_zip = zipfile.is_zipfile(path)
    known = _STAND_INS.keys() | _PLAIN
    # torch itself decides which of its own names are allowed
    if refused := sorted(name for name in _names(path, is_zip) - known if not name.startswith("torch.")):
        raise ModelFileError(
            f"{path} is refused: it names {', '.join(refused)}, which no checkpoint needs and which could run code"
        )
    with safe_globals([(stand_in, name) for name, stand_in in _STAND_INS.items()]):
        try:
            if path.suffix == ".safetensors":  # from a path with this ending torch would not unpickle
                with path.open("rb") as file:
                    return torch.load(file, map_location="cpu", weights_only=True)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip or None)
        except Exception as error:  # torch raises half a dozen kinds on a broken file
            asked = r"(Unsupported global: GLOBAL \S+|Unsupported [^.]*|Can only [^.]*|Trying to [^.]*)"
            detail = re.search(asked, str(error))
            raise ModelFileError(
                f"{path} is refused: its pickle does what no checkpoint needs ({detail[1]})"
                if detail and is_zip
                else f"{path} is no whole PyTorch checkpoint: it is cut off, or of another format; download it again"
            ) from error


def _names(path: Path, is_zip: bool) -> set[str]:
    """Return the names in a file's pickles, for the message only; torch refuses unknown ones."""
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            pickles = [io.BytesIO(archive.read(name)) for name in archive.namelist() if name.endswith(".pkl")]
    else:
        pickles = [path.open("rb")]
    names: set[str] = set()
    for stream in pickles:
        with stream, contextlib.suppress(Exception):  # in an old file tensors follow, which are no pickles
            for _ in range(8):  # an old file holds several pickles in a row
                texts: list[str] = []
                for opcode, value, _ in pickletools.genops(stream):
                    if opcode.name == "GLOBAL":
                        module, name = str(value).split(" ", 1)  # of Python 2, some of them
                        names.add(
                            ".".join(NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name)))
                        )
                    elif opcode.name == "STACK_GLOBAL":
                        names.add(".".join(texts[-2:]))
                    elif isinstance(value, str):
                        texts.append(value)
    return names


def find_inert(value: Any, origin: str, seen: set[int] | None = None) -> Iterator[Inert]:
    """Yield every stand-in for class ``origin`` in a nested value."""
    seen = set() if seen is None else seen
    if id(value) in seen or isinstance(value, torch.Tensor | str | bytes | int | float | None):
        return
    seen.add(id(value))
    children: Iterable[Any] = ()
    if isinstance(value, Inert):
        if value.origin == origin:
            yield value
        children = (*value.args, value.state)
    elif isinstance(value, dict):
        children = value.values()
    elif isinstance(value, list | tuple | set):
        children = value
    for child in children:
        yield from find_inert(child, origin, seen)


def to_plain(value: Any) -> Any:
    """Return a configuration as plain dicts, lists and values."""
    if isinstance(value, Inert):
        state = value.state if isinstance(value.state, dict) else {}
        for key in ("_content", "_val"):  # of omegaconf
            if key in state:
                return to_plain(state[key])
        if value.origin == "argparse.Namespace":
            return to_plain(state)
        return to_plain(value.args[0]) if len(value.args) == 1 else None
    if isinstance(value, dict):
        return {str(to_plain(key)): to_plain(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(child) for child in value]
    return value if isinstance(value, str | int | float | bool | None) else None


def without_paths(value: Any) -> Any:
    """Return ``to_plain`` with each path replaced by ``(a path)``."""
    if isinstance(value, Mapping):
        return {str(key): without_paths(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [without_paths(child) for child in value]
    if isinstance(value, Path) or (isinstance(value, str) and ("/" in value or "\\" in value)):
        return "(a path)"
    return value if isinstance(value, str | int | float | bool | None) else str(value)
