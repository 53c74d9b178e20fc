"""The search for points, as text and as a plot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.atomic import atomic_file
from edgewhisper.errors import MissingDependencyError, OutputError, UsageError
from edgewhisper.export.winograd.accuracy import Number
from edgewhisper.export.winograd.points import TILES, Candidate, TileName, search

SHOWN = 5
IMAGE_FORMATS = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class Search:
    """What was found for one F(m, r), the smallest mean error first."""

    name: str
    number: Number
    candidates: tuple[Candidate, ...]


def search_points(
    tile: TileName, number: Number, progress: Callable[[int, int], None] | None = None
) -> tuple[Search, ...]:
    """Search for the filters of stride 1 (3 taps) and of stride 2 (2 taps of 3, by polyphase)."""
    size = TILES[tile]

    def of_both(search_number: int) -> Callable[[int, int], None] | None:
        if progress is None:
            return None
        return lambda done, total: progress(search_number * total + done, 2 * total)

    return tuple(
        Search(f"F({size},{taps})", number, search(size, taps, number, progress=of_both(index)))
        for index, taps in enumerate((3, 2))
    )


def check_plot(path: Path, tile: TileName) -> None:
    """Check what can be known before the search.

    Raises:
        UsageError: the file's ending is no image format, or there is no c to choose.
    """
    if path.suffix.lower() not in IMAGE_FORMATS:
        raise UsageError(f"--plot {path}: name a file that ends in {', '.join(IMAGE_FORMATS)}")
    if tile == "F2":
        raise UsageError("--plot: tile F2 has no c to choose; take F4 or F6")


def format_points(searches: Sequence[Search]) -> str:
    """A table per search: c, points, mean and maximum error, conditioning."""
    from tabulate import tabulate

    blocks = []
    for found in searches:
        rows = [
            (
                "-" if candidate.c is None else f"{candidate.c:.4f}",
                ", ".join(map(str, candidate.transforms.points)) + ", inf",
                f"{candidate.errors.mean:.2e}",
                f"{candidate.errors.maximum:.2e}",
                f"{candidate.condition:.3g}",
            )
            for candidate in found.candidates[:SHOWN]
        ]
        headers = ("c", "points", "mean error", "maximum error", "condition")
        blocks.append(f"{found.name}, {found.number}\n" + tabulate(rows, headers, disable_numparse=True))
    return "\n\n".join(blocks)


def plot_errors(searches: Sequence[Search], path: Path) -> None:
    """Draw mean and maximum error against c.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise MissingDependencyError("--plot needs matplotlib; run 'pip install edgewhisper[eval]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for found in searches:
        ordered = sorted((c for c in found.candidates if c.c is not None), key=lambda item: item.c or 0.0)
        c = [candidate.c for candidate in ordered]
        (line,) = axes.plot(c, [item.errors.mean for item in ordered], label=f"{found.name}, mean")
        maxima = [item.errors.maximum for item in ordered]
        axes.plot(c, maxima, "--", color=line.get_color(), label=f"{found.name}, maximum")
    axes.set_yscale("log")
    axes.set_xlabel("c of the points -c, c, -1/c, 1/c")
    axes.set_ylabel(f"relative error in {searches[0].number}")
    axes.legend()
    figure.tight_layout()
    try:
        with atomic_file(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:].lower())
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        pyplot.close(figure)
