"""From runs to files."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from edgewhisper.atomic import atomic_file
from edgewhisper.bench.run import Run
from edgewhisper.errors import MissingDependencyError, OutputError

from .sections import sections


def write_report(
    runs: Sequence[Run], *, page: Path | None = None, images: Path | None = None, markdown: Path | None = None
) -> None:
    """Write what is asked for; equal runs give equal bytes with the same version of matplotlib.

    Args:
        runs: at least one.
        page: HTML file that needs no other.
        images: folder of a PNG file for each plot, which is made if it is not there and keeps what else it has.
        markdown: file of the tables.

    Raises:
        MissingDependencyError: matplotlib (`page`, `images`) or tabulate (`markdown`) is not installed; nothing is written.
        OutputError: a file cannot be written.
    """
    if page or images:
        _require("matplotlib", "eval")
    if markdown:
        _require("tabulate", "build")
    found = sections(runs)
    if page or images:
        from .drawing import png
        from .page import render_page
        from .plots import draw_plots

        plots = draw_plots(runs, found)
        if page:
            _write(page, render_page(runs, found, plots).encode())
        if images:
            _make_folder(images)
            for plot in plots.all:
                _write(images / f"{plot.name}.png", png(plot.figure))
    if markdown:
        from .markdown import render_markdown

        _write(markdown, render_markdown(runs, found).encode())


def _require(package: str, extra: str) -> None:
    if find_spec(package) is None:
        raise MissingDependencyError(f"a report needs {package}; run 'pip install edgewhisper[{extra}]'")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); choose another folder") from None


def _write(path: Path, content: bytes) -> None:
    try:
        with atomic_file(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); write elsewhere") from None
