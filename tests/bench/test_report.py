"""The table and the file that the benchmark writes."""

import json
from pathlib import Path

import pytest

from edgewhisper.bench.report import EngineFigures, ModelFigures, table, write_json
from edgewhisper.bench.speed import Speed
from edgewhisper.errors import OutputError
from edgewhisper.runtime.contention import Timing


def speed(encode: float, token: float, *, disturbed: int = 0) -> Speed:
    """An engine of that many milliseconds."""
    return Speed(
        encode=[Timing(encode / 1e3, cpu=1.9)],
        short=[Timing(0.5)],
        long=[Timing(0.5 + 170 * token / 1e3, cpu=1.5)],
        disturbed=disturbed,
    )


FIGURES = ModelFigures(
    "tiny.en",
    2,
    {
        "edgewhisper-int8": EngineFigures(speed(50, 2), peak=130_000_000, transcription_peak=140_000_000),
        "other": EngineFigures(speed(200, 3, disturbed=2), peak=300_000_000, versions={"other": "1.0"}),
        "crashed": EngineFigures(failure="ended by signal 11"),
    },
)


def row(name: str) -> list[str]:
    (line,) = (line for line in table(FIGURES).splitlines() if line.startswith(f"{name} "))
    return line.split()


def test_times_stand_beside_their_ratio_to_the_first_engine() -> None:
    assert row("other")[:7] == ["other", "200.0", "4.00", "1.90", "3.00", "1.50", "1.50"]
    assert row("edgewhisper-int8")[1:7] == ["50.0", "1.00", "1.90", "2.00", "1.00", "1.50"]


def test_peaks_of_window_and_transcription_stand_side_by_side() -> None:
    assert row("edgewhisper-int8")[-3:] == ["130", "/", "140"]


def test_disturbed_timings_are_counted_in_the_row() -> None:
    assert " ".join(row("other")).endswith("300 2 timings disturbed by more than 5%")


def test_an_engine_without_figures_is_listed_with_the_reason() -> None:
    assert set(row("crashed")[1:]) == {"-"}
    assert table(FIGURES).splitlines()[-1] == "crashed: ended by signal 11"


def test_the_file_holds_every_timing_and_the_medians(tmp_path: Path) -> None:
    write_json(tmp_path / "figures.json", [FIGURES])
    content = json.loads((tmp_path / "figures.json").read_text())
    assert content["machine"]["cores"] >= 1
    (model,) = content["models"]
    other = model["engines"]["other"]
    assert (model["model"], model["threads"]) == ("tiny.en", 2)
    assert other["speed"]["encode"] == [{"seconds": 0.2, "waited": 0.0, "stolen": 0.0, "cpu": 1.9}]
    assert other["speed"]["encoder_ms"] == pytest.approx(200)
    assert other["speed"]["token_ms"] == pytest.approx(3)
    assert other["versions"] == {"other": "1.0"}
    assert model["engines"]["crashed"]["speed"] is None
    assert model["engines"]["crashed"]["failure"] == "ended by signal 11"


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/figures\.json: cannot be written"):
        write_json(tmp_path / "none" / "figures.json", [FIGURES])
