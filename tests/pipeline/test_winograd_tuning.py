"""The table of fastest forms follows from what was measured."""

import onnx_ir as ir
import pytest

from edgewhisper.errors import UsageError
from edgewhisper.export.winograd import rewrite
from edgewhisper.export.winograd.choice import parse_table
from edgewhisper.pipeline.winograd_tuning import StemTime, measure_stems, stem_model, table_of


def _table(milliseconds: dict[tuple[int, str, str], float]) -> str:
    found = [
        StemTime(width, precision, method, time, 1.0, 0.0)  # type: ignore[arg-type]
        for (width, precision, method), time in milliseconds.items()
    ]
    return table_of(found, "arm64", "a board").to_json()


def test_the_fastest_method_of_each_width_is_chosen() -> None:
    times = {
        (384, "fp32", "off"): 3.0, (384, "fp32", "F4"): 2.0, (384, "int8", "slices"): 1.0,
        (768, "fp32", "off"): 5.0, (768, "fp32", "F4"): 6.0, (768, "int8", "slices"): 7.0,
    }  # fmt: skip
    table = parse_table(_table(times), "table.json")
    assert table.choose("arm64", "fp32", 400) == ("F4", None)
    assert table.choose("arm64", "fp32", 1280) == ("off", None)
    assert table.choose("arm64", "int8", 384) == ("slices", None)
    assert table.choose("arm64", "int8", 768) == ("off", None)
    assert table.choose("x86-avx2", "fp32", 384)[1] == "not measured on x86-avx2; the choice is that of arm64"


def test_a_rewrite_follows_its_table() -> None:
    table = parse_table(_table({(64, "fp32", "off"): 1.0, (64, "fp32", "F4"): 2.0}), "table.json")
    model = stem_model(64)
    infos = rewrite(model, "auto", "arm64", table=table)
    assert [(info.method, info.reason) for info in infos] == [
        ("none", "ONNX Runtime's Conv is the fastest here")
    ] * 2
    assert _convs(model) == 2


def test_what_is_no_table_is_refused() -> None:
    for text in ("{}", "no JSON"):
        with pytest.raises(UsageError, match=r"mine\.json: is no table of convolutions"):
            parse_table(text, "mine.json")


def test_measured_stems_are_compared_with_float64() -> None:
    conv, winograd, quantized = measure_stems(32, "x86-vnni", 1, [("fp32", "F4"), ("int8", "slices")])
    assert (conv.method, conv.speedup) == ("off", 1.0)
    assert conv.error < 1e-6
    assert winograd.error < 1e-6
    assert 1e-4 < quantized.error < 0.05


def _convs(model: ir.Model) -> int:
    return [node.op_type for node in model.graph].count("Conv")
