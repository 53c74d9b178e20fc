"""What docs/benchmark.md says of a run's keys."""

import dataclasses
import re
from pathlib import Path

import pytest

from edgewhisper.bench import run

PAGE = Path(__file__).parents[2] / "docs" / "benchmark.md"
KINDS = (
    *(run.Run, run.Machine, run.Model, run.Variant, run.Spread, run.Clip),
    *(run.Accuracy, run.Stage, run.Gain, run.WinogradError),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_key_of_a_run_is_described(kind: type) -> None:
    heading = "Winograd error" if kind is run.WinogradError else kind.__name__
    section = PAGE.read_text("utf-8").partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    described = {
        key
        for line in re.findall(r"^\|([^|]*)\|", section, re.MULTILINE)
        for key in re.findall(r"`(\w+)`", line)
    }
    of_file = {"schema", "version"} if kind is run.Run else set()
    assert described == {field.name for field in dataclasses.fields(kind)} | of_file
