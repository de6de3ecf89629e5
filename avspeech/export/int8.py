"""An ONNX file -> the same with 8-bit weights of matrix products and token embeddings.

onnxruntime's dynamic quantisation: weights with a scale per output channel, activations by their range.
"""

import logging
from pathlib import Path
from typing import Any

from avspeech.export.graph import ONE_FILE_BYTES


def quantize_file(path: Path) -> None:
    """Quantise a file in place."""
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
