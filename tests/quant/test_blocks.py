"""Blockwise quantization: what the integers stand for, and that ONNX Runtime reads them so."""

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewhisper.quant.blocks import Method, QuantizedMatrix, pack, quantize

bit_widths = st.sampled_from([4, 8])
block_sizes = st.sampled_from([16, 32, 64])
methods = st.sampled_from(["round-to-nearest", "k-quant"])
Floats = NDArray[np.float32]


@st.composite
def matrices(draw: st.DrawFn) -> Floats:
    """Matrices with some structure: a spread of magnitudes, rows off zero, zeros."""
    rows, width, seed = draw(st.integers(1, 20)), draw(st.integers(1, 150)), draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    matrix = random.standard_normal((rows, width)) * 10.0 ** draw(st.integers(-12, 6))
    matrix += draw(st.sampled_from([0.0, 0.0, 1.0, -3.0])) * np.abs(matrix).max()
    matrix[random.random((rows, width)) < draw(st.sampled_from([0.0, 0.5, 1.0]))] = 0.0
    return matrix.astype(np.float32)


def squared_errors(matrix: Floats, quantized: QuantizedMatrix) -> NDArray[np.float64]:
    """What the search makes small, of each block of the matrix: squared errors, weighted by the values' magnitude."""
    block_size = quantized.values.shape[-1]
    fill = ((0, 0), (0, -matrix.shape[1] % block_size))
    x, y = (np.pad(m.astype(np.float64), fill).reshape(-1, block_size) for m in (matrix, quantized.matrix()))
    weights = np.sqrt(np.mean(x * x, axis=1, keepdims=True)) + np.abs(x)
    errors: NDArray[np.float64] = np.sum(weights * (x - y) ** 2, axis=1)
    return errors


@given(levels=arrays.arrays(np.uint8, st.tuples(st.integers(0, 5), st.integers(0, 9).map(lambda n: 2 * n))))
def test_two_levels_of_4_bits_share_a_byte_and_the_first_is_the_low_half(levels: NDArray[np.uint8]) -> None:
    levels &= 15
    packed = pack(levels, 4)
    assert packed.shape == (levels.shape[0], levels.shape[1] // 2)
    assert np.array_equal(packed % 16, levels[:, ::2])
    assert np.array_equal(packed // 16, levels[:, 1::2])
    assert np.array_equal(pack(levels, 8), levels)


@given(matrix=matrices(), bits=bit_widths, block_size=block_sizes, method=methods, symmetric=st.booleans())
def test_no_value_moves_by_more_than_a_step(
    matrix: Floats, bits: int, block_size: int, method: Method, symmetric: bool
) -> None:
    quantized = quantize(matrix, bits, block_size, method, symmetric)
    steps = np.repeat(np.abs(quantized.scales), block_size, axis=1)[:, : matrix.shape[1]]
    error = np.abs(quantized.matrix() - matrix)
    if method == "round-to-nearest":
        assert np.all(error <= steps * (1 + 1e-5))
    # A search that clips the range may move its ends further, but no further than what it took from the range.
    largest = np.abs(matrix).max()
    assert np.all(error <= np.maximum(steps, 0.5 * largest) * (1 + 1e-5))


@given(matrix=matrices(), bits=bit_widths, block_size=block_sizes, method=methods, symmetric=st.booleans())
def test_zeros_stay_zeros(
    matrix: Floats, bits: int, block_size: int, method: Method, symmetric: bool
) -> None:
    assert np.all(quantize(matrix, bits, block_size, method, symmetric).matrix()[matrix == 0.0] == 0.0)


@given(matrix=matrices(), bits=bit_widths, block_size=block_sizes, symmetric=st.booleans())
def test_the_search_is_never_worse_than_rounding(
    matrix: Floats, bits: int, block_size: int, symmetric: bool
) -> None:
    rounded, searched = (
        squared_errors(matrix, quantize(matrix, bits, block_size, method, symmetric))
        for method in ("round-to-nearest", "k-quant")
    )
    # The search compares sums in fp32; of 8 bits' errors those are rough.
    assert np.all(searched <= rounded * (1 + 1e-3))


def test_the_search_lowers_the_error_of_normal_weights() -> None:
    matrix = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    for symmetric in (True, False):
        rounded, searched = (
            squared_errors(matrix, quantize(matrix, 4, 32, method, symmetric)).sum()
            for method in ("round-to-nearest", "k-quant")
        )
        assert searched < 0.92 * rounded


def test_zero_points_pay_where_blocks_lie_on_one_side_of_zero() -> None:
    matrix = np.random.default_rng(0).random((8, 64)).astype(np.float32)
    symmetric, asymmetric = (
        quantize(matrix, 4, 32, "round-to-nearest", kind).matrix() for kind in (True, False)
    )
    assert np.abs(asymmetric - matrix).mean() < 0.6 * np.abs(symmetric - matrix).mean()


@pytest.mark.parametrize("bits", [4, 8])
def test_values_on_a_grid_come_back(bits: int) -> None:
    random = np.random.default_rng(0)
    levels = random.integers(0, 2**bits, (6, 3, 32))
    levels[..., 0], levels[..., 1] = 0, 2**bits - 1
    zero_points = random.integers(0, 2**bits, (6, 3, 1))
    scales = 2.0 ** random.integers(-9, 3, (6, 3, 1))
    matrix = ((levels - zero_points) * scales).reshape(6, 96).astype(np.float32)
    assert np.allclose(
        quantize(matrix, bits, 32, "round-to-nearest", False).matrix(), matrix, rtol=1e-6, atol=0
    )


@given(
    matrix=matrices().filter(np.any),
    bits=bit_widths,
    block_size=block_sizes,
    method=methods,
    symmetric=st.booleans(),
)
def test_onnx_runtime_multiplies_by_the_matrix_that_the_integers_stand_for(
    matrix: Floats, bits: int, block_size: int, method: Method, symmetric: bool
) -> None:
    quantized = quantize(matrix, bits, block_size, method, symmetric)
    constants: dict[str, NDArray[np.generic]] = {"values": quantized.packed(), "scales": quantized.scales}
    packed = quantized.packed_zero_points()
    if packed is not None:
        constants["zero_points"] = packed
    (d_out, d_in) = matrix.shape
    node = helper.make_node(
        "MatMulNBits", ["x", *constants], ["y"], domain="com.microsoft", K=d_in, N=d_out, bits=bits, block_size=block_size,
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", 1, [3, d_in])],
        [helper.make_tensor_value_info("y", 1, [3, d_out])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(1).standard_normal((3, d_in)).astype(np.float32)
    (y,) = session.run(None, {"x": x})
    exact = quantized.matrix().astype(np.float64)
    tolerance = 1e-5 * (np.abs(x).astype(np.float64) @ np.abs(exact).T)
    assert np.all(np.abs(y - x.astype(np.float64) @ exact.T) <= tolerance + 1e-30)
