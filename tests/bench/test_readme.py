"""The README's table is that of the run that is committed beside it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from edgewhisper.bench.readme import BEGIN, END, results, with_results
from edgewhisper.bench.run import Model, Run, Spread, Variant, read_run
from edgewhisper.errors import UsageError
from tests.bench.sample_runs import SERVER

ROOT = Path(__file__).parents[2]


def test_the_table_is_that_of_the_committed_run() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"\]\((benchmarks/[^)]+\.json)\)", text)
    assert with_results(text, results(read_run(ROOT / source), source)) == text


def test_rows_on_a_gpu_say_on_which_and_how_much_memory_they_hold_there() -> None:
    machine = replace(SERVER, gpu="NVIDIA T4, driver 1.2")
    ours = Variant("edgewhisper-int8", "edgewhisper", "int8", peak=100_000_000, encoder_ms=Spread.of([50.4]))
    on_gpu = Variant(
        "edgewhisper-fp16-cuda", "edgewhisper", "fp16", {"provider": "cuda"}, peak=900_000_000, device=700_000_000,
        encoder_ms=Spread.of([1.25]),
    )  # fmt: skip
    text = results(Run("2026-01-01", machine, (Model("tiny.en", True, 100, (ours, on_gpu)),)), "a.json")
    assert "2 threads, what ends in -cuda on NVIDIA T4, driver 1.2, all engines in turn" in text
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if "|" in line]
    assert rows[0][-2:] == ["peak MB", "GPU MB"]
    assert rows[2:] == [
        ["**edgewhisper-int8**", "50", "", "", "100", ""],
        ["**edgewhisper-fp16-cuda**", "1.2", "", "", "900", "700"],
    ]
    without = results(Run("2026-01-01", machine, (Model("tiny.en", True, 100, (ours,)),)), "a.json")
    assert "T4" not in without
    assert "GPU MB" not in without


def test_a_readme_without_marks_is_refused() -> None:
    with pytest.raises(UsageError, match="has no marks"):
        with_results(f"{BEGIN} but no end", "table")
    assert with_results(f"a {BEGIN}old{END} b", "new") == f"a {BEGIN}\nnew\n{END} b"
