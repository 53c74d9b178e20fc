"""What a stage takes against what the machine could do at most: bytes over bandwidth, multiply-accumulates over arithmetic.

Both limits are measured on the spot with ONNX Runtime's own products: a vector by a matrix larger than the caches is bound by reading it,
a product of two square matrices by arithmetic.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgewhisper.artifact import Manifest
from edgewhisper.runtime.workload import encoder_macs, encoder_weights, step_weights

from .run import Stage, Variant

_ROUNDS = 5
_SQUARE = 1024
_LARGE = (4096, 16_384)  # 256 MB in fp32, 64 MB in INT8


@dataclass(frozen=True)
class Limits:
    """Of the machine, with so many threads.

    Attributes:
        bandwidth: bytes read in a second.
        fp32, int8: multiply-accumulates in a second.
    """

    bandwidth: float
    fp32: float
    int8: float


def measure_limits(threads: int) -> Limits:
    """Measure them; takes a few seconds and half a gigabyte."""
    rows, columns = _LARGE
    reading = _product(1, rows, columns, threads, quantized=False)
    return Limits(
        bandwidth=4 * rows * columns / _least_seconds(reading),
        fp32=_SQUARE**3 / _least_seconds(_product(_SQUARE, _SQUARE, _SQUARE, threads, quantized=False)),
        int8=_SQUARE**3 / _least_seconds(_product(_SQUARE, _SQUARE, _SQUARE, threads, quantized=True)),
    )


def _least_seconds(run: Callable[[], object]) -> float:
    def once() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    run()
    return min(once() for _ in range(_ROUNDS))


def _product(rows: int, inner: int, columns: int, threads: int, *, quantized: bool) -> Callable[[], object]:
    """[rows, inner] times a constant matrix [inner, columns]."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    if quantized:
        matrix = random.integers(-64, 64, (inner, columns), np.int8)
        scale = numpy_helper.from_array(np.asarray(0.01, np.float32), "scale")
        node = helper.make_node(
            "MatMulIntegerToFloat", ["x", "w", "scale", "scale"], ["y"], domain="com.microsoft"
        )
        initializers, kind = [numpy_helper.from_array(matrix, "w"), scale], TensorProto.UINT8
        x = random.integers(0, 127, (rows, inner), np.uint8)
    else:
        weights = random.standard_normal((inner, columns), np.float32)
        node = helper.make_node("MatMul", ["x", "w"], ["y"])
        initializers, kind = [numpy_helper.from_array(weights, "w")], TensorProto.FLOAT
        x = random.standard_normal((rows, inner), np.float32)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", kind, [rows, inner])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])],
        initializers,
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = min(threads, os.cpu_count() or threads)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})


# Bytes of a weight and of an activation in a cache, by the precision of the graph.
_WEIGHT = {"fp32": 4.0, "fp16": 4.0, "int8": 1.0, "int8-dynamic": 1.0, "int8-weight": 1.125, "int4": 0.625}
_CROSS = {"int8": 1, "int4": 1}


def stages(manifest: Manifest, variant: Variant, limits: Limits, past: int) -> tuple[Stage, ...]:
    """The encoder and each step that was timed.

    Args:
        manifest: of the variant's artifact.
        variant: with its times.
        limits: of the machine.
        past: tokens in the cache when steps were timed.
    """
    dims = manifest.dimensions
    encoder, decoder = (manifest.graph(name).precision for name in ("encoder", "decoder"))
    found: list[Stage] = []
    if variant.encoder_ms is not None:
        size = round(encoder_weights(dims) * _WEIGHT.get(encoder, 4.0))
        peak = limits.int8 if encoder.startswith("int8") else limits.fp32
        found.append(_stage("encoder", size, encoder_macs(dims), variant.encoder_ms.median, limits, peak))
    positions, width = dims.max_source_positions, dims.d_model
    attention = dims.decoder_layers * 2 * width
    cache = attention * (positions * _CROSS.get(decoder, 4) + past * 4)
    for count, spread in variant.step_ms.items():
        rows = int(count)
        size = round(step_weights(dims) * _WEIGHT.get(decoder, 4.0)) + cache
        macs = rows * (step_weights(dims) + attention * (positions + past))
        peak = limits.int8 if decoder == "int8" else limits.fp32
        found.append(_stage(f"step of {count}", size, macs, spread.median, limits, peak))
    return tuple(found)


def _stage(name: str, size: int, macs: int, milliseconds: float, limits: Limits, peak: float) -> Stage:
    seconds = milliseconds / 1e3
    return Stage(name, size, macs, seconds, size / seconds / limits.bandwidth, macs / seconds / peak)
