"""`edgewhisper winograd`: search points for the transforms, or measure which form is fastest here."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgewhisper.errors import UsageError
from edgewhisper.runtime.processor import TARGETS, host_target

from .outputs import print_result

if TYPE_CHECKING:
    from edgewhisper.export.winograd.accuracy import Number
    from edgewhisper.export.winograd.points import TileName


@click.command(short_help="Search points for fast convolutions, or measure them here.")
@click.option("--search", is_flag=True, help="Search the points with the smallest measured error.")
@click.option("--tune", is_flag=True, help="Measure every form for every width; takes about two minutes.")
@click.option(
    "--tile",
    type=click.Choice(["F2", "F4", "F6"]),
    default="F4",
    show_default=True,
    help="Outputs of a tile.",
)
@click.option(
    "--dtype",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Numbers inside.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw error against c into FILE (--search).",
)
@click.option(
    "--target", type=click.Choice(TARGETS), help="What the table is for (--tune); default: this machine's."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Threads to measure with (--tune).",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the table to FILE (--tune).",
)
def winograd(
    search: bool,
    tune: bool,
    tile: "TileName",
    dtype: "Number",
    plot: Path | None,
    target: str | None,
    threads: int,
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
    if search and (output is not None or target is not None):
        raise UsageError("-o and --target belong to --tune")
    if tune and plot is not None:
        raise UsageError("--plot belongs to --search")
    if search:
        from edgewhisper.pipeline import winograd_search

        found = winograd_search.search_points(tile, dtype)
        if plot is not None:
            winograd_search.plot_errors(found, plot)
        print_result(winograd_search.format_points(found))
        return
    from edgewhisper.pipeline import winograd_tuning

    print_result(winograd_tuning.run(target or host_target(), threads, output))
