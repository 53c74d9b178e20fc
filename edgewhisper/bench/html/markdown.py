"""The tables of a report as GitHub-flavoured Markdown."""

import re
from collections.abc import Iterator, Sequence

from tabulate import tabulate

from edgewhisper.bench.comparison import describe_machine
from edgewhisper.bench.run import Run

from .cells import DISTURBED, DISTURBED_NOTE, Cell, Row, Table
from .detail_tables import detail_tables, winograd_table
from .sections import Section, warnings_about
from .text import printable
from .variants_table import variants_table

# What could be read as markup. A mark at the beginning of a cell or in a word is text to GitHub.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~$&#!])")


def render_markdown(runs: Sequence[Run], sections: Sequence[Section]) -> str:
    """The whole document."""
    blocks = ["# Whisper benchmark"]
    blocks += [f"> {_escape(warning)}" for warning in warnings_about(runs)]
    blocks.append("\n".join(_run(run, number) for number, run in enumerate(runs, 1)))
    for section in sections:
        blocks.append(f"## {_escape(section.name)}")
        for table in (variants_table(section), *detail_tables(section)):
            blocks += _table(table)
    if (found := winograd_table(runs)) is not None:
        blocks += ["## Fast convolutions", *_table(found)]
    return "\n\n".join(blocks) + "\n"


def _run(run: Run, number: int) -> str:
    parts = [run.when, describe_machine(run.machine), run.machine.system, f"Python {run.machine.python}"]
    parts += [f"{name} {version}" for name, version in run.versions.items()]
    command = [f"`{printable(run.command).replace('`', ' ')}`"] if run.command else []
    return f"{number}. {', '.join([*map(_escape, parts), *command])}"


def _table(table: Table) -> Iterator[str]:
    yield _escape(table.caption)
    alignment = ["right" if column.numeric else "left" for column in table.columns]
    headings = [_escape(column.title) for column in table.columns]
    rows = [_row(row) for row in table.rows]
    yield tabulate(rows, headings, tablefmt="pipe", disable_numparse=True, colalign=alignment)
    if table.disturbed:
        yield DISTURBED_NOTE


def _row(row: Row) -> list[str]:
    cells = list(map(_cell, row.cells))
    if row.failure is not None:
        cells[0] += f" (failed: {_escape(row.failure)})"
    return cells


def _cell(cell: Cell) -> str:
    mark = f" {DISTURBED}{cell.disturbed}" if cell.disturbed else ""
    detail = f" ({cell.detail})" if cell.detail else ""
    return _escape(f"{cell.shown}{mark}{detail}")


def _escape(text: str) -> str:
    return _MARKUP.sub(r"\\\1", printable(text))
