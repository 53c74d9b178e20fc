"""Plots of one model's speed: the ladder, what it costs in memory and accuracy, and latency by length."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from .drawing import (
    GRID,
    MUTED,
    SERIES,
    SURFACE,
    TEXT,
    Plot,
    legend_below,
    line_style,
    logarithmic,
    new_figure,
)
from .pareto import pareto_front
from .sections import Entry, Section
from .text import shorten, significant

_LABEL, _KEY = 38, 46  # characters that there is room for
_ON_SURFACE = {"facecolor": SURFACE, "edgecolor": "none", "pad": 0.6}  # hides the lines behind a number


def speed_plots(section: Section, name: str) -> Iterator[Plot]:
    """Those that have data; `name` begins their names."""
    ladder = [(entry, entry.speed_up) for entry in section.entries if entry.speed_up]
    if len(ladder) > 1:
        yield _ladder([(entry, speed_up or 0.0) for entry, speed_up in ladder], name)
    measured = [
        entry
        for entry in section.entries
        if (entry.window_ms or 0) > 0 and (_peak(entry) or entry.variant.accuracy)
    ]
    if len(measured) > 1:
        yield _trade_off(measured, name)
    clips = [entry for entry in section.entries if any(_drawable(entry))]
    if clips:
        yield _latency(clips, name)


def _ladder(entries: Sequence[tuple[Entry, float]], name: str) -> Plot:
    steps = sorted(entries, key=lambda step: step[1])
    figure, (axes,) = new_figure(0.7 + 0.29 * len(steps))
    places = range(len(steps))
    colours = [MUTED if entry.variant is entry.baseline else SERIES[0] for entry, _ in steps]
    bars = axes.barh(places, [speed_up for _, speed_up in steps], height=0.66, color=colours)
    axes.bar_label(
        bars,
        [f"{speed_up:.2f}×" for _, speed_up in steps],
        padding=4,
        fontsize=8,
        color=TEXT,
        bbox=_ON_SURFACE,
    )
    axes.axvline(1, color=TEXT, linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_yticks(places, [shorten(entry.label, _LABEL) for entry, _ in steps])
    axes.set_ylim(-0.6, len(steps) - 0.4)
    axes.margins(x=0.1)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("times as fast as the first variant")
    fastest = ", ".join(f"{entry.label} {speed_up:.2f}" for entry, speed_up in reversed(steps))
    return Plot(
        f"{name}-speed-up",
        "Speed-up",
        f"Bars, fastest first: {fastest}.",
        "Time of a window of the first variant (grey) over that of each; longer is faster.",
        figure,
    )


def _trade_off(entries: Sequence[Entry], name: str) -> Plot:
    """Time against memory and against errors."""
    memory = [(_peak(entry) or math.inf) / 1e6 for entry in entries]
    errors = [100 * entry.variant.accuracy.wer if entry.variant.accuracy else math.inf for entry in entries]
    times = [entry.window_ms or math.inf for entry in entries]
    panels = [
        (title, values)
        for title, values in (("peak memory, MB", memory), ("word error rate, %", errors))
        if any(map(math.isfinite, values))
    ]
    front = pareto_front(list(zip(times, *(values for _, values in panels), strict=True)))
    figure, all_axes = new_figure(3.4, len(panels))
    if math.isfinite(min(memory)):
        logarithmic(all_axes[0].yaxis, [size for size in memory if math.isfinite(size)])
    for axes, (title, values) in zip(all_axes, panels, strict=True):
        shown = [index for index, value in enumerate(values) if math.isfinite(value)]
        _front_line(axes, [(times[index], values[index]) for index in shown])
        for index in shown:
            _numbered_point(axes, times[index], values[index], index + 1, filled=index in front)
        logarithmic(axes.xaxis, [times[index] for index in shown])
        axes.margins(0.12)
        axes.set_xlabel("time of a window, ms")
        axes.set_ylabel(title)
    for index, entry in enumerate(entries):
        all_axes[0].plot([], [], " ", label=f"{index + 1}  {shorten(entry.label, _KEY)}")
    legend_below(figure, all_axes[0], len(entries))
    names = ", ".join(entries[index].label for index in front)
    quantities = " and ".join(title.partition(",")[0] for title, _ in panels)
    return Plot(
        f"{name}-trade-off",
        "Time, memory and accuracy",
        f"Scatter of time of a window against {quantities}. Pareto front: {names}.",
        f"Lower left is better. Filled: no other variant is at least as good in time, {quantities} and better in one. "
        "The line is the Pareto front of the two axes.",
        figure,
    )


def _peak(entry: Entry) -> int | None:
    """Where a logarithmic scale can show it."""
    return entry.variant.peak if (entry.variant.peak or 0) > 0 else None


def _front_line(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    front = sorted(points[index] for index in pareto_front(points))
    axes.plot(*zip(*front, strict=True), color=SERIES[1], drawstyle="steps-post", linewidth=1.2, zorder=1)


def _numbered_point(axes: Any, x: float, y: float, number: int, *, filled: bool) -> None:
    face, ink = (SERIES[0], SURFACE) if filled else (SURFACE, MUTED)
    edge = SERIES[0] if filled else MUTED
    axes.scatter(x, y, s=90, color=face, edgecolors=edge, linewidths=1, zorder=2 + filled)
    axes.annotate(
        str(number), (x, y), color=ink, fontsize=7, ha="center", va="center_baseline", zorder=2 + filled
    )


def _drawable(entry: Entry) -> Iterator[tuple[float, float, float]]:
    """Length, p50 and p95 of the clips that a logarithmic scale can show, short ones first."""
    for clip in sorted(entry.variant.clips, key=lambda clip: clip.seconds):
        if min(clip.seconds, clip.p50, clip.p95) > 0:
            yield clip.seconds, clip.p50, clip.p95


def _latency(entries: Sequence[Entry], name: str) -> Plot:
    figure, (axes,) = new_figure(3.4)
    lengths, latencies, medians = set[float](), set[float](), []
    for index, entry in enumerate(entries):
        x, p50, p95 = zip(*_drawable(entry), strict=True)
        look = line_style(index)
        axes.plot(x, p50, label=shorten(entry.label, _KEY), **look)
        axes.fill_between(x, p50, p95, color=look["color"], alpha=0.16, linewidth=0)
        lengths.update(x)
        latencies.update(p50, p95)
        medians.append(f"{entry.label} {significant(p50[-1])} s for {x[-1]:g} s")
    logarithmic(axes.xaxis, sorted(lengths))
    logarithmic(axes.yaxis, sorted(latencies))
    axes.grid(color=GRID)
    axes.set_xlabel("length of the recording, s")
    axes.set_ylabel("from file to text, s")
    legend_below(figure, axes, len(entries))
    return Plot(
        f"{name}-latency",
        "Latency by length",
        f"Lines of the median latency against the length of the recording. The longest: {', '.join(medians)}.",
        "Median; the band reaches to the 95th percentile. Both axes are logarithmic.",
        figure,
    )
