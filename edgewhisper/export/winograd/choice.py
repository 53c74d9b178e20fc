"""Which method `auto` takes: a table of what was measured as fastest, per target, precision and width."""

import json
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from edgewhisper.artifact import parse_json
from edgewhisper.errors import ArtifactError, UsageError

Choice = Literal["auto", "off", "slices", "F2", "F4", "F6"]
Method = Literal["off", "slices", "F2", "F4", "F6"]
METHODS: tuple[Method, ...] = get_args(Method)
Precision = Literal["fp32", "fp16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
UNMEASURED = "not measured on {target}; the choice is that of {measured}"


@dataclass(frozen=True)
class Measured:
    """The fastest method for convolutions of `width` output channels."""

    width: int
    method: Method
    speedup: float  # over ONNX Runtime's fp32 Convs


@dataclass(frozen=True)
class TargetTable:
    """What was measured on one kind of processor."""

    machine: str
    measured: dict[str, tuple[Measured, ...]]  # by precision


@dataclass(frozen=True)
class Table:
    """The tables of all targets that were measured; the others take the choices of `default`."""

    default: str
    targets: dict[str, TargetTable]

    def to_json(self) -> str:
        """The table as text, as `parse_table` reads it."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    def choose(self, target: str, precision: Precision, width: int) -> tuple[Method, str | None]:
        """The method for `width` output channels, the nearest measured width's, and why it may not fit the target."""
        found = target if target in self.targets else self.default
        rows = self.targets[found].measured.get(precision, ())
        if not rows:
            return "off", f"{precision} convolutions were not measured on {found}"
        nearest = min(rows, key=lambda row: (abs(row.width - width), row.width))
        reason = None if found == target else UNMEASURED.format(target=target, measured=found)
        return nearest.method, reason


def committed_table() -> Table:
    """The table that is part of the package."""
    return parse_table(files(__package__).joinpath("table.json").read_text(), "table.json")


def read_table(path: Path) -> Table:
    """The table in a file that `edgewhisper winograd --tune` wrote.

    Raises:
        UsageError: it cannot be read, or is no table.
    """
    try:
        return parse_table(path.read_text(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"{path}: is no table of convolutions; write one with 'edgewhisper winograd --tune'"
        ) from None


def parse_table(text: str, where: str) -> Table:
    """The table in `text`; `where` names it in errors.

    Raises:
        UsageError: it is no table.
    """
    try:
        table = parse_json(Table, json.loads(text), where)
    except (ValueError, RecursionError, ArtifactError):
        table = None
    if not isinstance(table, Table) or not _is_sound(table):
        raise UsageError(
            f"{where}: is no table of convolutions; write one with 'edgewhisper winograd --tune'"
        )
    return table


def _is_sound(table: Table) -> bool:
    """Whether it can be chosen from."""
    rows = [
        (precision, row)
        for target in table.targets.values()
        for precision, measured in target.measured.items()
        for row in measured
    ]
    return table.default in table.targets and all(
        precision in PRECISIONS and row.width > 0 and row.speedup > 0 for precision, row in rows
    )
