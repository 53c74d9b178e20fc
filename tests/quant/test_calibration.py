"""Observed statistics against numpy over all values at once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, helper, save

from edgewhisper.errors import BuildError
from edgewhisper.quant.calibration import RANGE_METHODS, Statistics, observe

CHANNELS = 5
Feed = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def doubling(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph that doubles its input twice."""
    shape: list[str | int | None] = ["rows", CHANNELS]
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["twice"]), helper.make_node("Add", ["twice", "twice"], ["y"])],
        "doubling",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    path = tmp_path_factory.mktemp("graph") / "doubling.onnx"
    opset = [helper.make_opsetid("", 20)]
    save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def feeds(*arrays: NDArray[np.float32]) -> Iterator[Feed]:
    return ({"x": array} for array in arrays)


def of(path: Path, *arrays: NDArray[np.float32]) -> Statistics:
    return observe(path, ["twice"], feeds(*arrays))["twice"]


@given(
    seed=st.integers(0, 1000),
    sizes=st.lists(st.integers(1, 50), min_size=1, max_size=5),
    growth=st.sampled_from([0.01, 1, 30]),
)
def test_runs_of_any_size_add_up(doubling: Path, seed: int, sizes: list[int], growth: float) -> None:
    random = np.random.default_rng(seed)
    runs = [
        (growth**i * random.standard_normal((size, CHANNELS))).astype(np.float32)
        for i, size in enumerate(sizes)
    ]
    found, every = of(doubling, *runs), 2 * np.concatenate(runs)
    np.testing.assert_array_equal(found.minimum, np.minimum(0, every.min(axis=0)))
    np.testing.assert_array_equal(found.maximum, np.maximum(0, every.max(axis=0)))
    np.testing.assert_array_equal(found.largest, np.abs(every).max(axis=0))
    np.testing.assert_array_equal(found.histogram.sum(axis=1), len(every))
    negative = found.histogram[:, : found.histogram.shape[1] // 2].sum(axis=1)
    # What is next to nothing against the channel's largest value may round to either side.
    assert (negative >= (every < -1e-4 * found.limit).sum(axis=0)).all()
    assert (negative <= (every < 0).sum(axis=0)).all()


def test_progress_counts_runs(doubling: Path) -> None:
    told: list[int] = []
    ones = np.ones((2, CHANNELS), np.float32)
    observe(doubling, ["y"], feeds(ones, ones, ones), told.append)
    assert told == [1, 2, 3]


def test_the_percentile_range_is_numpys(doubling: Path) -> None:
    x = np.random.default_rng(0).standard_normal((400_000, CHANNELS)).astype(np.float32)
    x[0, 2] = 40
    low, high = of(doubling, x).range("percentile")
    expected = np.quantile(2 * x, [1e-5, 1 - 1e-5])
    # A bin of the tensor's histogram and one of a channel's.
    assert abs(low - expected[0]) < 0.8
    assert abs(high - expected[1]) < 0.8


def test_minmax_holds_everything_and_the_others_less(doubling: Path) -> None:
    x = np.random.default_rng(0).standard_normal((20_000, CHANNELS)).astype(np.float32)
    x[:3, 1] = (-90, 70, 80)
    found = of(doubling, x)
    assert found.range("minmax") == (-180, 160)
    for method in RANGE_METHODS[1:]:
        low, high = found.range(method)
        assert -180 <= low < -5
        assert 5 < high <= 160
    assert found.range("entropy")[1] < 100


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_scaling_scales_the_range(doubling: Path, method: str) -> None:
    x = np.random.default_rng(1).standard_normal((5000, CHANNELS)).astype(np.float32)
    found = of(doubling, x)
    halved = found.scaled(np.full(CHANNELS, 0.5, np.float32))
    np.testing.assert_allclose(halved.range(method), np.array(found.range(method)) / 2, rtol=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_a_value_that_is_always_zero_has_an_empty_range(doubling: Path, method: str) -> None:
    assert of(doubling, np.zeros((3, CHANNELS), np.float32)).range(method) == (0, 0)  # type: ignore[arg-type]


def test_no_data_is_an_error(doubling: Path) -> None:
    with pytest.raises(BuildError, match="no calibration data"):
        of(doubling)


def test_an_unknown_value_is_named(doubling: Path) -> None:
    with pytest.raises(BuildError, match="no value 'thrice'"):
        observe(doubling, ["thrice"], feeds(np.ones((1, CHANNELS), np.float32)))


def test_values_that_are_not_finite_are_an_error(doubling: Path) -> None:
    with pytest.raises(BuildError, match="'twice' is not finite"):
        of(doubling, np.full((1, CHANNELS), 3e38, np.float32))
