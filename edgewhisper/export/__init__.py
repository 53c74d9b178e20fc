"""Checkpoint -> ONNX graphs."""
