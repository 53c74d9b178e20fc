"""Plots of what explains a model's speed: speculation, memory over time, limits of the machine; and of a run: fast convolutions, heat."""

from collections.abc import Iterator, Sequence

from edgewhisper.bench.run import Gain, Run, Stage, WinogradError

from .drawing import MUTED, SERIES, TEXT, Plot, legend_below, line_style, logarithmic, new_figure
from .sections import Section
from .text import printable, shorten, significant

_LABEL, _KEY = 38, 46  # characters that there is room for

_Series = Sequence[tuple[str, Sequence[tuple[float, float]]]]


def detail_plots(section: Section, name: str) -> Iterator[Plot]:
    """Those of a model that have data; `name` begins their names."""
    gains = list(section.gains)
    if gains:
        yield _gains(gains, name)
    memory = [
        (entry.label, [(second, size / 1e6) for second, size in entry.variant.memory_over_time])
        for entry in section.entries
        if entry.variant.memory_over_time
    ]
    if memory:
        peaks = ", ".join(
            f"{label} {significant(max(size for _, size in found))} MB" for label, found in memory
        )
        yield _over_time(
            memory,
            Plot(
                f"{name}-memory",
                "Memory over time",
                f"Lines of resident memory since the start of the process; the most: {peaks}.",
                "Resident memory of a fresh process that loads the model and transcribes a window.",
                None,
            ),
            "resident memory, MB",
            least=0,
        )
    stages = [(entry.label, entry.variant.stages) for entry in section.entries if entry.variant.stages]
    if stages:
        yield _roofline(stages, name)


def run_plots(runs: Sequence[Run]) -> Iterator[Plot]:
    """Those of whole runs that have data."""
    errors: dict[tuple[str, str], set[WinogradError]] = {}
    for error in (error for run in runs for error in run.winograd):
        if error.mean > 0 and error.largest > 0:
            errors.setdefault((printable(error.form), printable(error.precision)), set()).add(error)
    if errors:
        yield _winograd(errors)
    heat = [(f"run {number}", run.temperatures) for number, run in enumerate(runs, 1) if run.temperatures]
    if heat:
        hottest = ", ".join(f"{label} {max(degrees for _, degrees in found):.0f}" for label, found in heat)
        yield _over_time(
            heat,
            Plot(
                "temperature",
                "Temperature",
                f"Lines of temperature since the start of the run; the highest in °C: {hottest}.",
                "Of the machine while it measured; a hot machine slows down.",
                None,
            ),
            "temperature, °C",
        )


def _gains(gains: Sequence[tuple[str, tuple[Gain, ...]]], name: str) -> Plot:
    figure, (axes,) = new_figure(3.1)
    entries = 0
    for index, (label, found) in enumerate(gains):
        look = line_style(index)
        imposed = sorted((gain.acceptance, gain.speed_up) for gain in found if gain.imposed)
        natural = sorted((gain.acceptance, gain.speed_up) for gain in found if not gain.imposed)
        if imposed:
            axes.plot(*zip(*imposed, strict=True), label=f"{label}, imposed acceptance", **look)
        if natural:
            x, y = zip(*natural, strict=True)
            axes.scatter(x, y, s=70, marker="*", color=SERIES[1], zorder=3, label=f"{label}, as it came")
        entries += bool(imposed) + bool(natural)
    axes.axhline(1, color=TEXT, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_xlabel("acceptance rate")
    axes.set_ylabel("greedy time over speculative")
    legend_below(figure, axes, entries)
    pairs = ", ".join(f"{gain.acceptance:.2f} {gain.speed_up:.2f}" for _, found in gains for gain in found)
    return Plot(
        f"{name}-speculation",
        "Speculative decoding",
        f"Speed-up against acceptance rate, in pairs: {pairs}.",
        "Above the dashed line guessing pays.",
        figure,
    )


def _over_time(series: _Series, plot: Plot, axis: str, least: float | None = None) -> Plot:
    """Lines of something since the start; `plot` says all but the figure, the axis begins at `least`."""
    figure, (axes,) = new_figure(3.1)
    for index, (label, found) in enumerate(series):
        look = line_style(index) | {"marker": "" if len(found) > 1 else "o"}
        axes.plot(*zip(*found, strict=True), label=shorten(label, _KEY), **look)
    axes.set_xlabel("seconds since the start")
    axes.set_ylabel(axis)
    axes.set_ylim(bottom=least)
    legend_below(figure, axes, len(series))
    return Plot(plot.name, plot.heading, plot.description, plot.caption, figure)


def _roofline(variants: Sequence[tuple[str, tuple[Stage, ...]]], name: str) -> Plot:
    """Two bars for each stage, under the name of its variant."""
    rows: list[tuple[str, Stage | None]] = []
    for label, stages in variants:
        rows += [(label, None), *((stage.name, stage) for stage in stages)]
    figure, (axes,) = new_figure(0.8 + 0.24 * len(rows))
    shares = [(place, stage) for place, (_, stage) in enumerate(rows) if stage is not None]
    for offset, colour, label, values in (
        (-0.18, SERIES[0], "of the memory bandwidth", [stage.of_bandwidth for _, stage in shares]),
        (0.18, SERIES[1], "of the arithmetic", [stage.of_peak for _, stage in shares]),
    ):
        places = [place + offset for place, _ in shares]
        axes.barh(places, [100 * value for value in values], height=0.34, color=colour, label=label)
    axes.axvline(100, color=TEXT, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_yticks(range(len(rows)), [shorten(label, _LABEL) for label, _ in rows])
    for tick, (_, stage) in zip(axes.get_yticklabels(), rows, strict=True):
        tick.set(**({"fontweight": "bold"} if stage is None else {"color": MUTED}))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel("% of what the machine can do")
    legend_below(figure, axes, 2)
    said = ", ".join(
        f"{label} {stage.name} {stage.of_bandwidth:.0%} and {stage.of_peak:.0%}"
        for label, stages in variants
        for stage in stages
    )
    return Plot(
        f"{name}-roofline",
        "Use of the machine",
        f"Shares of the measured bandwidth and arithmetic: {said}.",
        "Share of the measured memory bandwidth and arithmetic that each stage reaches; 100 % cannot be beaten.",
        figure,
    )


def _winograd(errors: dict[tuple[str, str], set[WinogradError]]) -> Plot:
    figure, (axes,) = new_figure(3.3)
    smallest = []
    for index, ((form, precision), found) in enumerate(sorted(errors.items())):
        ordered = sorted(found, key=lambda error: (error.c, error.mean))
        c = [error.c for error in ordered]
        look = line_style(index)
        label = shorten(f"{form} {precision}", _KEY - 9)
        axes.plot(c, [error.mean for error in ordered], label=f"{label}, mean", **look)
        largest = [error.largest for error in ordered]
        axes.plot(c, largest, label=f"{label}, largest", **look | {"linestyle": ":", "marker": ""})
        best = min(ordered, key=lambda error: error.mean)
        smallest.append(f"{form} {precision} {best.mean:.1e} at c = {best.c:g}")
    everything = [
        value for found in errors.values() for error in found for value in (error.mean, error.largest)
    ]
    logarithmic(axes.yaxis, everything)
    axes.set_xlabel("c of the points -c, c, -1/c, 1/c")
    axes.set_ylabel("relative error")
    legend_below(figure, axes, 2 * len(errors))
    return Plot(
        "winograd",
        "Fast convolutions",
        f"Relative error of Winograd convolutions against the scale of their points; the smallest means: {', '.join(smallest)}.",
        "Lower is better; where a curve is flat, c does not matter.",
        figure,
    )
