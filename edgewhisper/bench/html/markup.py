"""Pieces of HTML: escaped text, tables, figures, terms with what they mean."""

import html
from collections.abc import Iterable
from itertools import groupby

from .cells import DISTURBED, DISTURBED_NOTE, Cell, Column, Row, Table
from .drawing import Plot, svg
from .svg import inline_svg
from .text import MISSING, printable


def escape(text: str) -> str:
    """Text of a user for between tags or in a quoted attribute."""
    return html.escape(printable(text))


def terms(kind: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A list of terms with what they mean, which is HTML; those that mean nothing are left out."""
    items = "".join(f"<div><dt>{escape(term)}</dt><dd>{value}</dd></div>\n" for term, value in pairs if value)
    return f'<dl class="{kind}">\n{items}</dl>\n' if items else ""


def figure(plot: Plot, identifier: str) -> str:
    """A plot with its heading; `identifier` is unique in the page."""
    drawing = inline_svg(svg(plot.figure), identifier, printable(plot.description))
    return (
        f'<section class="plot">\n<h3>{escape(plot.heading)}</h3>\n<figure>\n'
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(plot.heading)}">\n{drawing}\n</div>\n'
        f"<figcaption>{escape(plot.caption)}</figcaption>\n</figure>\n</section>\n"
    )


def html_table(table: Table) -> str:
    """A table in a frame of its own to scroll in; the script of the page makes it sortable."""
    head = "".join(_heading(column) for column in table.columns)
    body = "".join(_row(row, table) for row in table.rows)
    note = f'<p class="note">{DISTURBED_NOTE}</p>\n'
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="{escape(table.caption)}">\n<table class="sortable">\n'
        f"<caption>{escape(table.caption)}</caption>\n"
        f"<thead>\n{_groups(table)}<tr>{head}</tr>\n</thead>\n<tbody>\n{body}</tbody>\n</table>\n</div>\n"
        f"{note if table.disturbed else ''}"
    )


def _groups(table: Table) -> str:
    """The row above the headings that says what they have in common."""
    if not any(column.group for column in table.columns):
        return ""
    groups = [
        (name, len(list(columns))) for name, columns in groupby(table.columns, lambda column: column.group)
    ]
    cells = "".join(f'<th scope="colgroup" colspan="{width}">{escape(name)}</th>' for name, width in groups)
    return f"<tr>{cells}</tr>\n"


def _heading(column: Column) -> str:
    kind = ' class="number"' if column.numeric else ""
    meaning = f' title="{escape(column.meaning)}"' if column.meaning else ""
    return f'<th scope="col" data-sort{kind}{meaning}>{escape(column.title)}</th>'


def _row(row: Row, table: Table) -> str:
    if not table.has_failed(row):
        return f"<tr>{_cells(row.cells, table, row.failure)}</tr>\n"
    known = _cells(row.cells[: table.known], table)
    rest = len(table.columns) - table.known
    reason = f'<td class="failure" colspan="{rest}">failed: {escape(row.failure or "")}</td>' if rest else ""
    return f'<tr class="failed">{known}{reason}</tr>\n'


def _cells(cells: Iterable[Cell], table: Table, failure: str | None = None) -> str:
    first, *others = zip(cells, table.columns, strict=False)
    reason = "" if failure is None else f'<small class="failure">failed: {escape(failure)}</small>'
    heading = f'<th scope="row">{escape(first[0].shown)}{reason}</th>'
    return heading + "".join(_cell(cell, column) for cell, column in others)


def _cell(cell: Cell, column: Column) -> str:
    kind = "number" if column.numeric else "words"
    if not cell.text:
        return f'<td class="{kind} missing">{MISSING}</td>'
    if not column.numeric:
        return f'<td class="words">{escape(cell.text)}</td>'
    mark = f'<abbr title="{cell.disturbed} timings were disturbed">{DISTURBED}{cell.disturbed}</abbr>'
    detail = f"<small>{escape(cell.detail)}</small>" if cell.detail else ""
    return (
        f'<td class="number" data-value="{cell.value!r}">{escape(cell.text)}'
        f"{mark if cell.disturbed else ''}{detail}</td>"
    )
