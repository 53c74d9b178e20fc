"""Rewritten Convs give what the Convs gave, for every shape; what is left alone is left with a reason."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from edgewhisper.export.winograd import rewrite
from edgewhisper.export.winograd.choice import Choice, Precision
from edgewhisper.runtime.processor import host_target
from tests.export.winograd.graphs import Array, conv_model, op_types, run, stem_model

METHODS: tuple[Choice, ...] = ("slices", "F2", "F4", "F6")
TARGET = host_target()


def _random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def _stem_oracle(x: Array, first: tuple[Array, Array], second: tuple[Array, Array]) -> Array:
    y = torch.from_numpy(x).double()
    for (w, b), stride in ((first, 1), (second, 2)):
        y = functional.conv1d(
            y, torch.from_numpy(w).double(), torch.from_numpy(b).double(), stride=stride, padding=1
        )
        y = functional.gelu(y)
    return np.asarray(y.transpose(1, 2))


def _relative(y: Array, exact: Array) -> float:
    assert y.shape == exact.shape
    return float(np.linalg.norm(y - exact) / np.linalg.norm(exact))


@settings(deadline=None, max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    batch=st.integers(1, 3),
    length=st.integers(3, 40),
    stride=st.sampled_from((1, 2)),
    padding=st.one_of(
        st.tuples(st.integers(0, 3), st.integers(0, 3)),
        st.sampled_from(("VALID", "SAME_UPPER", "SAME_LOWER")),
    ),
    has_bias=st.booleans(),
)
def test_a_rewritten_conv_gives_what_the_conv_gives(
    method: Choice, batch: int, length: int, stride: int, padding: Any, has_bias: bool
) -> None:
    attributes: dict[str, Any] = {"strides": [stride], "kernel_shape": [3]}
    attributes |= {"auto_pad": padding} if isinstance(padding, str) else {"pads": list(padding)}
    weights, bias = _random(5, 7, 3), _random(5, seed=1) if has_bias else None
    x = _random(batch, 7, length, seed=2)
    expected = run(conv_model(weights, bias, **attributes), {"x": x})
    model = conv_model(weights, bias, **attributes)
    (info,) = rewrite(model, method, TARGET)
    assert "Conv" not in op_types(model)
    assert info.method != "none"
    np.testing.assert_allclose(run(model, {"x": x}), expected, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("length", [1, 2, 5, 8, 11, 100])
@pytest.mark.parametrize("method", METHODS)
def test_a_stem_is_right_for_even_and_odd_lengths(method: Choice, length: int) -> None:
    first, second = (
        (_random(24, 80, 3) / 15, _random(24)),
        (_random(24, 24, 3, seed=1) / 8, _random(24, seed=1)),
    )
    x = _random(2, 80, length)
    model = stem_model(first, second)
    rewrite(model, method, TARGET)
    assert not {"Conv", "Add"} & {
        node.op_type for node in model.graph if node.inputs[0] is model.graph.inputs[0]
    }
    assert _relative(run(model, {"x": x}), _stem_oracle(x, first, second)) < 1e-5


def test_the_transpose_after_a_stem_disappears() -> None:
    first, second = (_random(8, 80, 3), _random(8)), (_random(8, 8, 3), _random(8))
    with_transpose, without = stem_model(first, second), stem_model(first, second, transpose=False)
    for model in (with_transpose, without):
        rewrite(model, "F4", TARGET)
    assert op_types(without).count("Transpose") == op_types(with_transpose).count("Transpose") + 1
    assert op_types(with_transpose)[-1] == "BiasGelu"


@pytest.mark.parametrize("method", ["F2", "F4"])
def test_a_stem_in_fp32_loses_at_most_a_millionth(method: Choice) -> None:
    scale = 1 / np.sqrt([240, 384])
    first = (_random(128, 80, 3) * scale[0].astype(np.float32), _random(128) / 10)
    second = (_random(128, 128, 3, seed=1) * scale[1].astype(np.float32), _random(128, seed=1) / 10)
    x = _random(1, 80, 400)
    model = stem_model(first, second)
    infos = rewrite(model, method, TARGET)
    assert _relative(run(model, {"x": x}), _stem_oracle(x, first, second)) <= 1e-6
    assert all(info.error is not None and info.error <= 1e-6 for info in infos)


@pytest.mark.parametrize(("method", "bound"), [("slices", 0.05), ("F2", 0.06)])
def test_an_int8_stem_stays_near_fp32(method: Choice, bound: float) -> None:
    first, second = (
        (_random(32, 80, 3) / 15, _random(32)),
        (_random(32, 32, 3, seed=1) / 10, _random(32, seed=1)),
    )
    x = _random(1, 80, 200)
    model = stem_model(first, second)
    rewrite(model, method, TARGET, "int8")
    assert "MatMulIntegerToFloat" in op_types(model)
    assert _relative(run(model, {"x": x}), _stem_oracle(x, first, second)) < bound


@pytest.mark.parametrize(
    ("method", "ratios"),
    [("slices", (1, 1)), ("F2", (4 / 6, 5 / 6)), ("F4", (6 / 12, 9 / 12)), ("F6", (8 / 18, 13 / 18))],
)
def test_multiplications_are_counted_over_a_window(method: Choice, ratios: tuple[float, float]) -> None:
    first, second = (_random(8, 80, 3), _random(8)), (_random(8, 8, 3), _random(8))
    infos = rewrite(stem_model(first, second), method, TARGET)
    assert [info.macs_before for info in infos] == [3000 * 240 * 8, 1500 * 24 * 8]
    assert [info.macs_after / info.macs_before for info in infos] == pytest.approx(ratios)


@pytest.mark.parametrize(
    ("weights", "attributes", "opset", "reason"),
    [
        ((4, 6, 5), {}, 20, "5 taps"),
        ((4, 3, 3), {"group": 2}, 20, "2 groups"),
        ((4, 6, 3), {"dilations": [2]}, 20, "dilation is 2"),
        ((4, 6, 3), {"strides": [3]}, 20, "stride is 3"),
        ((4, 6, 3), {}, 13, "opset is 13"),
    ],
)
def test_a_conv_that_cannot_be_rewritten_is_named_with_the_reason(
    weights: tuple[int, int, int], attributes: dict[str, Any], opset: int, reason: str
) -> None:
    model = conv_model(_random(*weights), opset=opset, **attributes)
    (info,) = rewrite(model, "F4", TARGET)
    assert info.method == "none"
    assert info.node == "conv.Conv_0"
    assert info.reason is not None
    assert reason in info.reason
    assert op_types(model) == ["Conv"]


def test_off_leaves_the_graph_alone() -> None:
    model = conv_model(_random(4, 6, 3))
    assert rewrite(model, "off", TARGET) == ()
    assert op_types(model) == ["Conv"]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_auto_says_where_its_choice_was_not_measured(precision: Precision) -> None:
    infos = rewrite(conv_model(_random(384, 8, 3)), "auto", "arm64", precision)
    assert [info.reason for info in infos] == ["not measured on arm64; the choice is that of x86-vnni"]


def test_the_result_keeps_its_name() -> None:
    model = conv_model(_random(4, 6, 3))
    rewrite(model, "F2", TARGET)
    assert [value.name for value in model.graph.outputs] == ["y"]
