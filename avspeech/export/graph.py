"""A part of a model -> an ONNX file for any batch size and lengths, float32 or int8.

The letters that end an input's name are its axes; those in ``VARYING`` are free.
"""

import logging
import warnings
from dataclasses import dataclass, field
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
"""Free axis -> what it counts."""
ONE_FILE_BYTES = 1_500_000_000
"""Larger weights go into a file beside the graph: a protobuf holds at most 2 GiB."""


@dataclass(frozen=True)
class Graph:
    """Content of one ONNX file: ``part`` is called with the inputs by name."""

    name: str
    """File name without ending."""
    part: nn.Module
    inputs: dict[str, Tensor]
    """Examples. A free axis other than O must be at least 2, or the export fixes its size."""
    outputs: tuple[str, ...]
    longest: dict[str, int] = field(default_factory=dict)
    """Free axis -> its largest size."""

    def describe(self) -> dict[str, Any]:
        """Return the entry of ``config.json``."""
        types = {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in self.inputs.items()}
        return {"file": f"{self.name}.onnx", "inputs": types, "outputs": list(self.outputs)}


def axes_of(name: str) -> str:
    """Return the axis letters after a name's last underscore."""
    return name.rpartition("_")[2]


@torch.no_grad()
def write_graph(graph: Graph, folder: Path) -> None:
    """Write ``graph`` into ``folder``."""
    dims = {one: torch.export.Dim(one, min=int(one != "O"), max=graph.longest.get(one)) for one in VARYING}
    shapes = tuple({axis: dims[one] for axis, one in enumerate(axes_of(name)) if one in dims} for name in graph.inputs)
    with warnings.catch_warnings():  # it warns of axes that share a name
        warnings.filterwarnings("ignore", ".*will not be used, since it shares the same shape constraints.*")
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
    """Pass tensors on by name; an export passes them by position."""

    def __init__(self, part: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.part, self.names = part, names

    def forward(self, *tensors: Tensor) -> Any:
        return self.part(**dict(zip(self.names, tensors, strict=True)))


def _name_axes(graph: Any) -> None:
    """Name the free axes by letter; the export names them by formula."""
    import onnx_ir

    for value in [*graph.inputs, *graph.outputs]:
        axes = zip(axes_of(value.name), value.shape, strict=True)
        value.shape = onnx_ir.Shape([letter if letter in VARYING else size for letter, size in axes])


def quantize_file(path: Path) -> None:
    """Quantise the weights of matrix products and token embeddings in place.

    onnxruntime's dynamic quantisation: weights with a scale per output channel, activations by their range.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model, quantized = onnx.load(path), path.with_name(path.name + ".int8")
    _transpose_weights(model.graph)
    # token embeddings are quantised, the small tables, which feed a norm, are not
    tables = [one.name for one in model.graph.node if one.op_type == "Gather" and "embedding" not in one.input[0]]
    logging.getLogger().addFilter(_no_advice)
    try:
        quantize_dynamic(
            model,
            quantized,
            op_types_to_quantize=["MatMul", "Gather"],
            nodes_to_exclude=tables,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,  # 7 bits: with 8, sums saturate on x86 CPUs without VNNI (onnxruntime, "Quantization")
            use_external_data_format=sum(len(one.raw_data) for one in model.graph.initializer) > ONE_FILE_BYTES,
            extra_options={"MatMulConstBOnly": True},
        )
    finally:
        logging.getLogger().removeFilter(_no_advice)
    quantized.rename(path)
    # A large model's float32 weights lie in a file beside its graph; the new graph does not use it.
    path.with_name(path.name + ".data").unlink(missing_ok=True)


def _transpose_weights(graph: Any) -> None:
    """Store transposed weights (tied embeddings) separately; their product would stay float32."""
    from onnx import numpy_helper

    weights = {one.name: one for one in graph.initializer}
    for node in list(graph.node):
        if node.op_type == "Transpose" and node.input[0] in weights:
            permutation = next((one.ints for one in node.attribute if one.name == "perm"), None)
            turned = numpy_helper.to_array(weights[node.input[0]]).transpose(permutation)
            graph.initializer.append(numpy_helper.from_array(turned.copy(), node.output[0]))
            graph.node.remove(node)


def _no_advice(record: logging.LogRecord) -> bool:
    return "Please consider to run pre-processing before quantization" not in record.getMessage()
