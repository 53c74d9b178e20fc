"""Small graphs with Convs, and how the tests run them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.export.nodes import CONTRIB
from edgewhisper.export.pass_writer import PassWriter

Array = NDArray[Any]


def conv_model(weights: Array, bias: Array | None = None, opset: int = 20, **attributes: Any) -> ir.Model:
    """One Conv, x [B, C, T] -> y, of any batch and length."""
    channels = weights.shape[1] * int(attributes.get("group", 1))
    graph, x = _graph(channels, opset, weights.dtype)
    writer = PassWriter(graph, "conv")
    inputs = [writer.constant("w", weights), *([writer.constant("b", bias)] if bias is not None else [])]
    y = writer.op("Conv", x, *inputs, **attributes)
    return _model(graph, writer, y)


def stem_model(
    first: tuple[Array, Array], second: tuple[Array, Array], opset: int = 20, transpose: bool = True
) -> ir.Model:
    """Whisper's stem: Conv . Gelu . Conv (stride 2) . Gelu . Transpose, in the type of the weights."""
    graph, y = _graph(first[0].shape[1], opset, first[0].dtype)
    graph.opset_imports[CONTRIB] = 1
    writer = PassWriter(graph, "stem")
    for index, ((w, b), stride) in enumerate(((first, 1), (second, 2))):
        constants = writer.constant(f"w{index}", w), writer.constant(f"b{index}", b)
        y = writer.op("Conv", y, *constants, pads=[1, 1], strides=[stride], kernel_shape=[3])
        y = writer.op("Gelu", y, domain=CONTRIB)
    if transpose:
        y = writer.op("Transpose", y, perm=[0, 2, 1])
    return _model(graph, writer, y)


def exported_model(first: tuple[Array, Array], second: tuple[Array, Array], positions: Array) -> ir.Model:
    """A stem in the nodes that PyTorch's exporter writes, opset 17: Gelu as Div . Erf . Add . Mul . Mul, then positions."""
    graph, y = _graph(first[0].shape[1], 17, first[0].dtype)
    writer = PassWriter(graph, "/model/encoder")
    root, one, half = (
        writer.constant(f"scalar{k}", np.array(value, np.float32)) for k, value in enumerate((2**0.5, 1, 0.5))
    )
    for index, ((w, b), stride) in enumerate(((first, 1), (second, 2))):
        constants = writer.constant(f"conv{index}.weight", w), writer.constant(f"conv{index}.bias", b)
        y = writer.op(
            "Conv", y, *constants, group=1, dilations=[1], kernel_shape=[3], pads=[1, 1], strides=[stride]
        )
        erf = writer.op("Erf", writer.op("Div", y, root))
        y = writer.op("Mul", writer.op("Mul", y, writer.op("Add", erf, one)), half)
    y = writer.op("Transpose", y, perm=[0, 2, 1])
    return _model(graph, writer, writer.op("Add", y, writer.constant("positions", positions)))


def run(model: ir.Model, feed: Mapping[str, Array]) -> Array:
    """The first output on ONNX Runtime."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    content = ir.to_proto(model).SerializeToString()
    result = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run(None, dict(feed))
    return np.asarray(result[0])


def op_types(model: ir.Model) -> list[str]:
    """The operators of a graph, in order."""
    return [node.op_type for node in model.graph]


def _graph(channels: int, opset: int, dtype: np.dtype[Any]) -> tuple[ir.Graph, ir.Value]:
    shape = ir.Shape(["batch", channels, "frames"])
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.from_numpy(dtype)), shape=shape)
    return ir.Graph([x], [], nodes=[], opset_imports={"": opset}, name="test"), x


def _model(graph: ir.Graph, writer: PassWriter, y: ir.Value) -> ir.Model:
    y.name, y.type = "y", graph.inputs[0].type
    graph.extend(writer.nodes)
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=10)
