"""Tables without a form: HTML and Markdown show the same cells."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from edgewhisper.bench.run import Spread

from .text import MISSING, printable, significant

DISTURBED = "†"
DISTURBED_NOTE = f"{DISTURBED} with a number: other processes disturbed so many timings in every attempt; the least disturbed attempt counts."


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it says; a cell that says nothing was not measured.
        value: the number that it is sorted by, None for words.
        detail: in small beside the text, such as the spread.
        disturbed: how many of its timings were.
    """

    text: str = ""
    value: float | None = None
    detail: str = ""
    disturbed: int = 0

    @property
    def shown(self) -> str:
        """The text, or a dash for what was not measured."""
        return self.text or MISSING


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        title: with the unit.
        group: what it has in common with its neighbours.
        numeric: whether its values are numbers.
        meaning: what is measured, where the title does not say.
        known: whether it is known of a variant that could not be measured too.
    """

    title: str
    group: str = ""
    numeric: bool = True
    meaning: str = ""
    known: bool = False


@dataclass(frozen=True)
class Row:
    """A row; `failure` says why its numbers are missing."""

    cells: tuple[Cell, ...]
    failure: str | None = None


@dataclass(frozen=True)
class Table:
    """A table; the columns that are known of every row come first."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    @property
    def known(self) -> int:
        """How many columns are known of a variant that could not be measured too."""
        return sum(column.known for column in self.columns)

    def has_failed(self, row: Row) -> bool:
        """Whether nothing was measured of a row, so that only the reason can be shown."""
        return row.failure is not None and not any(cell.text for cell in row.cells[self.known :])

    @property
    def disturbed(self) -> bool:
        """Whether a cell is marked."""
        return any(cell.disturbed for row in self.rows for cell in row.cells)

    def with_data(self) -> "Table":
        """Without columns in which nothing was measured."""
        kept = [
            index for index in range(len(self.columns)) if any(row.cells[index].text for row in self.rows)
        ]
        rows = (replace(row, cells=tuple(row.cells[index] for index in kept)) for row in self.rows)
        return Table(self.caption, tuple(self.columns[index] for index in kept), tuple(rows))


def words(text: str) -> Cell:
    """A cell of words, such as a name."""
    return Cell(printable(text))


def number(value: float | None, show: Callable[[float], str] = significant) -> Cell:
    """A cell of one number."""
    return Cell() if value is None else Cell(show(value), value)


def spread(measured: Spread | None) -> Cell:
    """The median; the least and the most beside it, where there are several."""
    if measured is None:
        return Cell()
    detail = f"{significant(measured.low)} to {significant(measured.high)}" if measured.count > 1 else ""
    return Cell(significant(measured.median), measured.median, detail, measured.disturbed)


def table(caption: str, columns: Iterable[Column], rows: Iterable[Sequence[Cell]]) -> Table:
    """Of rows none of which is a failure."""
    return Table(printable(caption), tuple(columns), tuple(Row(tuple(cells)) for cells in rows))
