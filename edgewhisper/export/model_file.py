"""Graphs as files: read for a pass, written with their tensors in a shared weights file."""

from pathlib import Path

import onnx_ir as ir

from edgewhisper.artifact import TensorInfo

from .weights import WeightsWriter

# Smaller tensors stay inside the graph file, where ONNX Runtime's constant folding can see their values.
INLINE_BYTES = 1024


def load_model(path: Path) -> ir.Model:
    """Read a graph. Its external tensors stay in their files until a pass asks for their values."""
    return ir.load(path)


def save_model(
    model: ir.Model, path: Path, weights: WeightsWriter
) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Write a graph with its larger tensors in `weights`; returns its inputs and outputs.

    Initializers of one name are one tensor: what several graphs use lies in the weights file once. The model refers to that file
    afterwards. Equal graphs give equal bytes.

    Raises:
        OSError: a file cannot be written.
    """
    for value in model.graph.initializers.values():
        tensor = value.const_value
        assert tensor is not None
        assert value.name is not None
        if tensor.nbytes < INLINE_BYTES:
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)
        else:
            value.const_value = weights.tensor_of(value.name, tensor)
    return write_model(model, path)


def write_model(model: ir.Model, path: Path) -> tuple[tuple[TensorInfo, ...], tuple[TensorInfo, ...]]:
    """Write a graph whose larger tensors are in a weights file already; returns its inputs and outputs.

    Raises:
        OSError: the file cannot be written.
    """
    path.write_bytes(ir.serde.serialize_model(model).SerializeToString(deterministic=True))
    return tuple(map(describe, model.graph.inputs)), tuple(map(describe, model.graph.outputs))


def describe(value: ir.Value) -> TensorInfo:
    """A graph's input or output, as the manifest states it."""
    assert value.name is not None
    assert value.dtype is not None
    assert value.shape is not None
    shape = tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)
    return TensorInfo(value.name, str(value.dtype).lower(), shape)
