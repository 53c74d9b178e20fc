"""`edgewhisper winograd`."""

from pathlib import Path

import pytest

from edgewhisper.cli.main import main


def test_search_prints_points_errors_and_conditioning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["winograd", "--search", "--tile", "F2"]) == 0
    printed = capsys.readouterr().out
    for expected in ("F(2,3), fp32", "F(2,2), fp32", "0, 1, -1, inf", "mean error", "condition"):
        assert expected in printed


@pytest.mark.slow
def test_search_draws_error_against_c(tmp_path: Path) -> None:
    plot = tmp_path / "points.png"
    assert main(["winograd", "--search", "--tile", "F4", "--dtype", "int8", "--plot", str(plot)]) == 0
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --search or --tune"),
        (["--search", "--tune"], "give --search or --tune"),
        (["--search", "-o", "table.json"], "-o belongs to --tune"),
        (["--search", "--threads", "1"], "--threads belongs to --tune"),
        (["--tune", "--tile", "F4"], "--tile belongs to --search"),
        (["--tune", "--plot", "points.png"], "belongs to --search"),
        (["--search", "--tile", "F2", "--plot", "points.txt"], "name a file that ends in"),
        (["--search", "--tile", "F2", "--plot", "points.png"], "has no c to choose"),
    ],
)
def test_bad_usage_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["winograd", *arguments]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--tune", "-o"], ["--search", "--plot"]])
def test_where_the_result_goes_is_checked_before_the_work(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["winograd", *arguments, str(tmp_path / "nowhere" / "table.png")]) == 1
    assert "cannot be written (no folder" in capsys.readouterr().err
