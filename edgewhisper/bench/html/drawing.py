"""How plots look, and how they become SVG and PNG."""

import contextlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

# Colours on a light page. In SVG they become variables of the page's style, which has others for dark pages.
TEXT, MUTED, GRID, SURFACE = "#1d2430", "#5a6472", "#d9dee6", "#ffffff"
SERIES = ("#2563c9", "#c2570c", "#1a7f4b", "#7a45c4", "#c0325f", "#0c7f92", "#8a6d0b", "#566175")
VARIABLES = {
    TEXT: "var(--text)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    SURFACE: "var(--surface)",
    **{colour: f"var(--series-{number})" for number, colour in enumerate(SERIES, 1)},
}
_DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)))
_MARKERS = "os^Dv"
_WIDTH = 7.0  # inches

_SETTINGS = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.facecolor": "none",
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "svg.fonttype": "none",
    "svg.hashsalt": "edgewhisper",  # the same names in the file every time
    "text.color": TEXT,
    "text.parse_math": False,  # a name may have a dollar sign
    "xtick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.color": MUTED,
    "ytick.labelcolor": TEXT,
}


@dataclass(frozen=True)
class Plot:
    """A drawn plot.

    Attributes:
        name: of its file, without ending.
        heading: of its section.
        description: what it shows, for readers who do not see it.
        caption: how to read it.
        figure: matplotlib's.
    """

    name: str
    heading: str
    description: str
    caption: str
    figure: Any


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Where plots are drawn and written: the settings of this module alone, whatever the user's are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The font that is measured with may lack a letter of a name; the page is shown in the reader's fonts.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


def new_figure(height: float, columns: int = 1) -> tuple[Any, Sequence[Any]]:
    """A figure of so many inches, and its axes beside each other."""
    figure = Figure(figsize=(_WIDTH, height))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, axes


def line_style(index: int) -> dict[str, Any]:
    """Colour, dashes and marker of a series; 40 differ in one of them."""
    return {
        "color": SERIES[index % len(SERIES)],
        "linestyle": _DASHES[index // len(SERIES) % len(_DASHES)],
        "marker": _MARKERS[index % len(_MARKERS)],
    }


def legend_below(figure: Any, axes: Any, entries: int) -> None:
    """A legend under the plot, which grows by its height."""
    columns = 1 if entries == 1 else 2
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.19 * (entries + columns - 1) // columns + 0.1)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", ncols=columns)


def logarithmic(axis: Any, values: Sequence[float]) -> None:
    """Give an axis of positive values a logarithmic scale with plain numbers, as many as it has room for."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    wide = max(values) > 30 * min(values)
    axis.set_major_locator(
        LogLocator(subs=(1,) if max(values) > 1e3 * min(values) else (1, 2, 5), numticks=12)
    )
    axis.set_minor_locator(NullLocator() if wide else LogLocator(subs=range(1, 10), numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}" if value > 1e-4 else f"{value:.0e}"))
    axis.set_minor_formatter(NullFormatter())


def png(figure: Any) -> bytes:
    """The figure on white, 200 dots an inch."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=200, facecolor=SURFACE, metadata={"Software": None})
    return buffer.getvalue()


def svg(figure: Any) -> str:
    """The figure as matplotlib writes it, without date and program."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
