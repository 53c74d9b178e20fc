"""`edgewhisper winograd`: search points for the transforms, or measure which form is fastest here."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgewhisper.errors import OutputError, UsageError

from .outputs import print_result

if TYPE_CHECKING:
    from edgewhisper.export.winograd.accuracy import Number
    from edgewhisper.export.winograd.points import TileName

_THREADS = 2


@click.command(short_help="Search points for fast convolutions, or measure them here.")
@click.option("--search", is_flag=True, help="Search the points with the smallest measured error.")
@click.option("--tune", is_flag=True, help="Measure every form for every width; takes about two minutes.")
@click.option(
    "--tile",
    type=click.Choice(["F2", "F4", "F6"]),
    help="Outputs of a tile (--search). Default: F4.",
)
@click.option(
    "--dtype",
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Numbers inside (--search). Default: fp32.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw error against c into FILE (--search).",
)
@click.option(
    "--threads", type=click.IntRange(1), help=f"Threads to measure with (--tune). Default: {_THREADS}."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table to FILE (--tune), for 'edgewhisper build --winograd-table FILE'.",
)
def winograd(
    search: bool,
    tune: bool,
    tile: "TileName | None",
    dtype: "Number | None",
    plot: Path | None,
    threads: int | None,
    output: Path | None,
) -> None:
    """Winograd convolution: which points lose least accuracy, which form is fastest on this machine.

    \b
    Examples:
      edgewhisper winograd --search --tile F4 --dtype int8
      edgewhisper winograd --search --plot points.png
      edgewhisper winograd --tune -o table.json
    """
    if search == tune:
        raise UsageError("give --search or --tune, one of them")
    of_tune = {"-o": output, "--threads": threads}
    of_search = {"--tile": tile, "--dtype": dtype, "--plot": plot}
    for name, value in (of_tune if search else of_search).items():
        if value is not None:
            raise UsageError(f"{name} belongs to {'--tune' if search else '--search'}")
    _check_writable(output or plot)
    if search:
        from edgewhisper.pipeline import winograd_search

        tile, dtype = tile or "F4", dtype or "fp32"
        if plot is not None:
            winograd_search.check_plot(plot, tile)
        with _bar("points") as progress:
            found = winograd_search.search_points(tile, dtype, progress)
        if plot is not None:
            winograd_search.plot_errors(found, plot)
        print_result(winograd_search.format_points(found))
        return
    from edgewhisper.pipeline import winograd_tuning

    with _bar("widths") as progress:
        table = winograd_tuning.run(threads or _THREADS, output, progress)
    print_result(table)


def _check_writable(path: Path | None) -> None:
    """Refuse a file that cannot be written before minutes are spent on what goes there."""
    if path is not None and not path.absolute().parent.is_dir():
        raise OutputError(f"{path}: cannot be written (no folder {path.parent}); name another file")


@contextlib.contextmanager
def _bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; the function takes how many are done, and of how many."""
    from tqdm import tqdm

    with tqdm(desc=unit, leave=False, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show
