"""Where transcripts go: standard output, or one file per recording."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from edgewhisper.atomic import atomic_file
from edgewhisper.errors import OutputError, UsageError

STANDARD_INPUT = "-"


def plan_outputs(
    recordings: Sequence[str], folder: Path | None, extension: str, overwrite: bool
) -> list[Path | None]:
    """The file of each recording's transcript; None is standard output. Nothing is written yet.

    Raises:
        UsageError: two transcripts would be one file, a file exists and `overwrite` is not set, standard input is named
            twice, or several structured transcripts would run into each other on standard output.
    """
    if recordings.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input ('-') is named twice; it can be read once")
    if folder is None:
        if len(recordings) > 1 and extension != "txt":
            raise UsageError(
                f"several recordings cannot share one {extension} output; add -o DIR for a file each"
            )
        return [None] * len(recordings)
    planned: dict[Path, str] = {}
    for recording in recordings:
        stem = "stdin" if recording == STANDARD_INPUT else Path(recording).stem
        path = folder / f"{stem}.{extension}"
        if path in planned:
            raise UsageError(
                f"{planned[path]} and {recording} would both be written to {path}; use two -o folders"
            )
        if path.exists() and not overwrite:
            raise UsageError(f"{path}: exists; add --overwrite to replace it, or give another -o folder")
        planned[path] = recording
    return list(planned)


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """A text file for one transcript; a file appears under its name only when the block ends well.

    Raises:
        OutputError: it cannot be written.
    """
    if path is None:
        yield sys.stdout
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another -o folder"
        ) from error
