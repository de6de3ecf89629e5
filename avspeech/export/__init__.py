"""Models for machines without torch: ONNX graphs of the encoders and of one decoder step, in float32 or int8."""
