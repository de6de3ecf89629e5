"""Models as ONNX graphs, float32 or int8, for machines without torch."""
