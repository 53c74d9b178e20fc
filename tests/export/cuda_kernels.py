"""What the CUDA execution provider has kernels for, as far as Whisper's graphs use it.

Taken from docs/OperatorKernels.md of ONNX Runtime, section CUDAExecutionProvider, for opset 20. A node whose types are not
here runs on the CPU, and its inputs and outputs are copied from and to the GPU.
"""

FLOATS = frozenset({"FLOAT", "FLOAT16"})

# (domain, operator) -> types of the first input that a kernel takes.
CUDA_KERNELS = {
    ("", "Add"): FLOATS,
    ("", "Cast"): FLOATS,
    ("", "Concat"): FLOATS,
    ("", "Conv"): FLOATS,
    ("", "Gather"): FLOATS,
    ("", "Gelu"): FLOATS,
    ("", "LayerNormalization"): FLOATS,
    ("", "MatMul"): FLOATS,
    ("", "Mul"): FLOATS,
    ("", "Reshape"): FLOATS,
    ("", "Slice"): FLOATS,
    ("", "Softmax"): FLOATS,
    ("", "Split"): FLOATS,
    ("", "Sum"): FLOATS,
    ("", "Transpose"): FLOATS,
    ("com.microsoft", "BiasGelu"): FLOATS,
    ("com.microsoft", "FusedMatMul"): FLOATS,
    ("com.microsoft", "Gelu"): FLOATS,
    ("com.microsoft", "GroupQueryAttention"): frozenset({"FLOAT16"}),
    ("com.microsoft", "MultiHeadAttention"): FLOATS,
    ("com.microsoft", "SkipLayerNormalization"): FLOATS,
}

# Inputs that these kernels read in the host's memory (OrtMemTypeCPUInput in their registrations).
HOST_INPUTS = {
    ("", "Reshape"): {1},
    ("", "Slice"): {1, 2, 3, 4},
    ("", "Split"): {1},
    ("com.microsoft", "GroupQueryAttention"): {6},
}

# Lengths and positions: a few integers per step, which ONNX Runtime computes on the CPU where they come from.
INTEGER_OPERATORS = {"Add", "Cast", "Equal", "ReduceProd", "Reshape", "Shape", "Squeeze"}
