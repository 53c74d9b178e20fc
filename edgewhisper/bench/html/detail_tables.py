"""The tables beside that of the variants: steps, clips, speculation, machine limits, fast convolutions."""

from collections.abc import Iterator, Sequence

from edgewhisper.bench.run import Clip, Run

from .cells import Cell, Column, Table, number, spread, table, words
from .sections import Section
from .text import megabytes, percent, significant

_NAME = Column("name", numeric=False)


def detail_tables(section: Section) -> Iterator[Table]:
    """Those of one model that have data."""
    entries = section.entries
    counts = sorted({count for entry in entries for count in entry.variant.step_ms}, key=_as_number)
    if counts:
        columns = [_NAME, *(Column(f"{count} at once, ms") for count in counts)]
        rows = [
            [words(entry.label), *(spread(entry.variant.step_ms.get(count)) for count in counts)]
            for entry in entries
            if entry.variant.step_ms
        ]
        yield table("Time of one step of several tokens.", columns, rows)
    lengths = sorted({clip.seconds for entry in entries for clip in entry.variant.clips})
    if lengths:
        columns = [_NAME, *(Column(f"{length:g} s") for length in lengths)]
        rows = [
            [words(entry.label), *(_clip(entry.variant.clips, length) for length in lengths)]
            for entry in entries
            if entry.variant.clips
        ]
        yield table(
            "Seconds from file to text by length of the recording: median, and 95th percentile.",
            columns,
            rows,
        )
    if any(entry.variant.stages for entry in entries):
        yield _stages(section)
    for label, gains in section.gains:
        columns = [
            Column("acceptance", numeric=False),
            Column("rate, %"),
            Column("speed-up"),
            Column("tokens per verification"),
            Column("same text, %"),
        ]
        rows = [
            [
                words("imposed" if gain.imposed else "as it came"),
                number(gain.acceptance, percent),
                number(gain.speed_up),
                number(gain.tokens_per_verification),
                number(gain.same_text, percent),
            ]
            for gain in gains
        ]
        yield table(f"{label.capitalize()}: greedy time over speculative.", columns, rows).with_data()


def winograd_table(runs: Sequence[Run]) -> Table | None:
    """Errors of all runs by form, number format and c."""
    errors = sorted(
        {error for run in runs for error in run.winograd},
        key=lambda error: (error.form, error.precision, error.c, error.mean),
    )
    columns = [
        Column("form", numeric=False),
        Column("precision", numeric=False),
        Column("c"),
        Column("mean error"),
        Column("largest error"),
    ]
    rows = [
        [
            words(error.form),
            words(error.precision),
            number(error.c, "{:.4f}".format),
            number(error.mean, "{:.2e}".format),
            number(error.largest, "{:.2e}".format),
        ]
        for error in errors
    ]
    return table("Relative error of fast convolutions.", columns, rows) if rows else None


def _stages(section: Section) -> Table:
    columns = [
        _NAME,
        Column("stage", numeric=False),
        Column("read, MB"),
        Column("10^6 MACs"),
        Column("time, ms"),
        Column("of bandwidth, %"),
        Column("of arithmetic, %"),
    ]
    rows = [
        [
            words(entry.label),
            words(stage.name),
            number(stage.bytes, megabytes),
            number(stage.macs, megabytes),
            number(1e3 * stage.seconds),
            number(stage.of_bandwidth, percent),
            number(stage.of_peak, percent),
        ]
        for entry in section.entries
        for stage in entry.variant.stages
    ]
    return table("Work against the machine's measured limits.", columns, rows)


def _clip(clips: Sequence[Clip], length: float) -> Cell:
    for clip in clips:
        if clip.seconds == length:
            return Cell(significant(clip.p50), clip.p50, f"p95 {significant(clip.p95)}", clip.disturbed)
    return Cell()


def _as_number(count: str) -> tuple[float, str]:
    return (int(count) if count.isdecimal() else float("inf"), count)
