"""ONNX -> smaller ONNX."""
