"""Matrix products in ONNX Runtime: the smallest graphs there are, to see whether its kernels run here and how fast.

The graphs are written byte by byte in protobuf's wire format, as a device does not have the package onnx.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# Message types and their fields in onnx.proto.
_IR_VERSION, _OPSET = 9, 20
_FLOAT, _UINT8, _INT8, _INT32 = 1, 2, 3, 6  # TensorProto.DataType
_NAMES = ("x", "w", "y")


def product_graph(rows: int, inner: int, columns: int, *, int8: bool) -> bytes:
    """A model of one node, y = x w: x [rows, inner] and w [inner, columns] are inputs.

    In fp32, or x in uint8, w in int8 and y in int32.
    """
    kinds = (_UINT8, _INT8, _INT32) if int8 else (_FLOAT, _FLOAT, _FLOAT)
    shapes = ((rows, inner), (inner, columns), (rows, columns))
    x, w, y = (
        _text(1, name) + _message(2, _tensor_type(kind, shape))
        for name, kind, shape in zip(_NAMES, kinds, shapes, strict=True)
    )
    operator = "MatMulInteger" if int8 else "MatMul"
    node = _text(1, "x") + _text(1, "w") + _text(2, "y") + _text(4, operator)
    graph = _message(1, node) + _text(2, "product") + _message(11, x) + _message(11, w) + _message(12, y)
    return _number(1, _IR_VERSION) + _message(7, graph) + _message(8, _text(1, "") + _number(2, _OPSET))


def _tensor_type(kind: int, shape: tuple[int, int]) -> bytes:
    dimensions = b"".join(_message(1, _number(1, size)) for size in shape)
    return _message(1, _number(1, kind) + _message(2, dimensions))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, value: str) -> bytes:
    return _message(field, value.encode())


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


@dataclass(frozen=True)
class Rates:
    """What a machine does in a second, with so many threads.

    Attributes:
        int8, fp32: multiply-accumulates.
        bandwidth: bytes read from memory.
    """

    int8: float
    fp32: float
    bandwidth: float


_SIZES = (256, 512, 1024)
_ENOUGH = 0.02  # seconds that a run should take to be timed
_ROUNDS = 4
# A matrix of this many rows and columns is larger than the caches of boards: 16 MB; or of servers: 64 MB.
_SMALL, _LARGE = 2048, 4096
_ROOMY = 1_000_000_000  # bytes that are free


def measure_rates(threads: int, free_memory: int) -> Rates:
    """Measure them; takes about a second, and 20 to 70 MB."""
    side = _LARGE if free_memory > _ROOMY else _SMALL
    return Rates(
        int8=_square_rate(threads, int8=True),
        fp32=_square_rate(threads, int8=False),
        bandwidth=4 * side**2 / _least_seconds(_product(1, side, side, threads, int8=False)),
    )


def _square_rate(threads: int, *, int8: bool) -> float:
    seconds, size = 0.0, 0
    for size in _SIZES:
        seconds = _least_seconds(_product(size, size, size, threads, int8=int8))
        if seconds > _ENOUGH:
            break
    return size**3 / seconds


def _least_seconds(run: Callable[[], object]) -> float:
    def once() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    first = once()
    return first if first > 1 else min(once() for _ in range(_ROUNDS))


def _product(rows: int, inner: int, columns: int, threads: int, *, int8: bool) -> Callable[[], Any]:
    import numpy as np

    from edgewhisper.runtime.onnxruntime_import import onnxruntime

    runtime = onnxruntime()
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    model = product_graph(rows, inner, columns, int8=int8)
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x, w = (np.uint8, np.int8) if int8 else (np.float32, np.float32)
    feeds = {"x": np.ones((rows, inner), x), "w": np.ones((inner, columns), w)}
    return lambda: session.run(None, feeds)
