"""All plots of a report."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgewhisper.bench.run import Run

from .detail_plots import detail_plots, run_plots
from .drawing import Plot, style
from .sections import Section
from .speed_plots import speed_plots


@dataclass(frozen=True)
class Plots:
    """What was drawn: for each section, and of whole runs."""

    of_sections: tuple[tuple[Plot, ...], ...]
    of_runs: tuple[Plot, ...]

    @property
    def all(self) -> tuple[Plot, ...]:
        """In the order of the page."""
        return (*(plot for plots in self.of_sections for plot in plots), *self.of_runs)


def draw_plots(runs: Sequence[Run], sections: Sequence[Section]) -> Plots:
    """Draw what has data; names are unique and fit for files."""
    with style():
        of_sections = []
        for number, section in enumerate(sections, 1):
            name = f"{number}-{re.sub('[^A-Za-z0-9.]+', '-', section.name)[:60]}"
            of_sections.append((*speed_plots(section, name), *detail_plots(section, name)))
        return Plots(tuple(of_sections), tuple(run_plots(runs)))
