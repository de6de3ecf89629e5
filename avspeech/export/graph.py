"""A part of a model with named inputs -> an ONNX file whose batch and lengths may be anything.

The letters at the end of a name are its axes, as everywhere. Those in ``VARYING`` are free in the file; the others are
the model's sizes.
"""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

VARYING = {
    "B": "utterances",
    "A": "acoustic frames at 100 Hz",
    "T": "frames at 25 Hz",
    "P": "positions of the audio memory at 50 Hz, (A + 1) // 2",
    "L": "tokens fed now: the whole prompt, or one",
    "O": "tokens fed before, 0 at first",
    "Q": "tokens fed so far, O + L",
    "U": "CTC steps, T times ctc_upsample",
}
"""The axes that are free, and what they count."""
ONE_FILE_BYTES = 1_500_000_000
"""Weights up to this size lie in the graph's own file, larger ones beside it: a protobuf ends at 2 GiB."""


@dataclass(frozen=True)
class Graph:
    """What becomes one ONNX file."""

    name: str
    """Of the file, without its ending."""
    part: nn.Module
    """Called with the inputs by their names; gives one tensor or several."""
    inputs: dict[str, Tensor]
    """Examples; no free axis but O may be 1 or less, or the export would take that for a size."""
    outputs: tuple[str, ...]
    longest: dict[str, int] = field(default_factory=dict)
    """Most that a free axis may count."""

    def describe(self) -> dict[str, Any]:
        """Return file, inputs and outputs, ready for JSON."""
        types = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in self.inputs.items()}
        return {"file": f"{self.name}.onnx", "inputs": types, "outputs": list(self.outputs)}


def axes_of(name: str) -> str:
    """Return the letters of a name's axes: those after its last underscore."""
    return name.rpartition("_")[2]


def require(*modules: str) -> None:
    """Do nothing if the packages that export needs are there.

    Raises:
        ValueError: one is not.
    """
    for name in modules:
        try:
            import_module(name)
        except ImportError as error:
            raise ValueError(
                f'{name} is not installed, and export to ONNX needs it: pip install "avspeech[export]"'
            ) from error


@torch.no_grad()
def write_graph(graph: Graph, folder: Path) -> None:
    """Write ``graph`` into ``folder``.

    Raises:
        ValueError: a package is missing.
    """
    require("onnx", "onnxscript")
    dims: dict[str, Any] = {}
    for letter in VARYING:
        dims[letter] = torch.export.Dim(letter, min=int(letter != "O"), max=graph.longest.get(letter))
    shapes = tuple(
        {axis: dims[letter] for axis, letter in enumerate(axes_of(name)) if letter in dims} for name in graph.inputs
    )
    with _quiet():
        program = torch.onnx.export(
            _ByName(graph.part, tuple(graph.inputs)).eval(),
            tuple(graph.inputs.values()),
            dynamo=True,
            dynamic_shapes=(shapes,),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            verbose=False,
        )
        assert program is not None
        _name_axes(program.model.graph)
        num_bytes = sum(weight.nbytes for weight in graph.part.state_dict().values())
        program.save(folder / f"{graph.name}.onnx", external_data=num_bytes > ONE_FILE_BYTES)


class _ByName(nn.Module):
    """Hands tensors on by their names: an export takes them by their places."""

    def __init__(self, part: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.part, self.names = part, names

    def forward(self, *tensors: Tensor) -> Any:
        return self.part(**dict(zip(self.names, tensors, strict=True)))


def _name_axes(graph: Any) -> None:
    """Let the free axes of inputs and outputs carry their letters; the export writes formulas."""
    import onnx_ir

    for value in [*graph.inputs, *graph.outputs]:
        letters = axes_of(value.name)
        assert value.shape is not None and len(value.shape) == len(letters), f"{value.name} has the axes {value.shape}"
        sizes = [letter if letter in VARYING else size for letter, size in zip(letters, value.shape, strict=True)]
        value.shape = onnx_ir.Shape(sizes)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what an export says that nobody can act on."""
    with warnings.catch_warnings():
        # Axes of one letter are one axis: that is why they share it.
        warnings.filterwarnings("ignore", ".*will not be used, since it shares the same shape constraints.*")
        yield
