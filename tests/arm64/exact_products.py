"""The same graphs with their INT8 products computed exactly on x86.

Without VNNI, x86 adds two products of INT8 in 16 bits, which saturates with the full range of weights that graphs for arm64
use. A product of integers is exact in fp32 as long as its sums stay below 2**24, so fp32 gives what Arm's instructions give.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper


@contextmanager
def exact_products() -> Iterator[None]:
    """Sessions that are opened meanwhile compute integer products exactly."""
    session = onnxruntime.InferenceSession

    def open_session(model: str, *arguments: Any, **keywords: Any) -> Any:
        return session(_with_exact_products(Path(model)), *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", open_session)
        yield


def _with_exact_products(path: Path) -> bytes:
    model = onnx.load(path)
    nodes = [new for node in model.graph.node for new in _exactly(node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    serialized: bytes = model.SerializeToString()
    return serialized


def _exactly(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    """MatMulIntegerToFloat(a, b, scale a, scale b, zero point of a, none of b, bias) in fp32; other nodes as they are."""
    if node.op_type != "MatMulIntegerToFloat":
        yield node
        return
    a, b, scale_a, scale_b, zero_a, zero_b, bias = [*node.input, "", "", ""][:7]
    assert not zero_b, "weights have no zero point"
    (output,) = node.output

    def named(suffix: str) -> str:
        return f"{output}.exact_{suffix}"

    yield helper.make_node("Cast", [a], [named("a")], to=TensorProto.FLOAT)
    yield helper.make_node("Cast", [b], [named("b")], to=TensorProto.FLOAT)
    shifted = named("a")
    if zero_a:
        yield helper.make_node("Cast", [zero_a], [named("zero")], to=TensorProto.FLOAT)
        yield helper.make_node("Sub", [named("a"), named("zero")], [named("shifted")])
        shifted = named("shifted")
    yield helper.make_node("MatMul", [shifted, named("b")], [named("product")])
    yield helper.make_node("Mul", [scale_a, scale_b], [named("scale")])
    scaled = named("scaled") if bias else output
    yield helper.make_node("Mul", [named("product"), named("scale")], [scaled])
    if bias:
        yield helper.make_node("Add", [scaled, bias], [output])
