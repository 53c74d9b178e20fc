"""Where transcripts go: standard output, or one file per recording."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from edgewhisper.atomic import atomic_file
from edgewhisper.errors import OutputError, UsageError

STANDARD_INPUT = "-"
# Extensions of transcripts; a folder called so was meant to be a file.
FILE_FORMATS = ("txt", "json", "srt", "vtt", "tsv")


def plan_outputs(
    recordings: Sequence[str], folder: Path | None, extension: str, overwrite: bool
) -> list[Path | None]:
    """The file of each recording's transcript; None is standard output. Nothing is written yet.

    Raises:
        UsageError: two transcripts would be one file, a file exists and `overwrite` is not set, the folder is a file,
            standard input is named twice, the folder is called like a file, or several structured transcripts would run into each other on standard output.
    """
    if recordings.count(STANDARD_INPUT) > 1:
        raise UsageError("standard input ('-') is named twice; it can be read once")
    if folder is None:
        if len(recordings) > 1 and extension != "txt":
            raise UsageError(
                f"several recordings cannot share one {extension} output; add -o DIR for a file each"
            )
        return [None] * len(recordings)
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise UsageError(f"-o {folder}: {nearest} is a file; give a folder")
    if folder.suffix[1:] in FILE_FORMATS and not folder.exists():
        raise UsageError(
            f"-o {folder}: names a file, -o takes a folder; for one file write '> {folder}' instead"
        )
    planned: dict[Path, str] = {}
    for recording in recordings:
        stem = "stdin" if recording == STANDARD_INPUT else Path(recording).stem
        path = folder / f"{stem}.{extension}"
        if planned.get(path) == recording:
            raise UsageError(f"{recording} is named twice; name it once")
        if path in planned:
            raise UsageError(
                f"{planned[path]} and {recording} would both be written to {path}; use two -o folders"
            )
        if path.exists() and not overwrite:
            raise UsageError(f"{path}: exists; add --overwrite to replace it, or give another -o folder")
        planned[path] = recording
    return list(planned)


@contextlib.contextmanager
def standard_output() -> Iterator[TextIO]:
    """Standard output, where the text that is written reaches it.

    Raises:
        OutputError: it is closed, or cannot be written.
        BrokenPipeError: its reader has gone, which ends a command without a word.
    """
    if sys.stdout is None:  # as in `edgewhisper ... >&-`
        raise OutputError("standard output is closed; leave it open, or write to a file")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"standard output: cannot be written ({error.strerror or error}); free space, or write elsewhere"
        ) from error


def print_result(text: object) -> None:
    """Print what a command was run for; raises what `standard_output` raises."""
    with standard_output() as file:
        print(text, file=file)


@contextlib.contextmanager
def open_output(path: Path | None) -> Iterator[TextIO]:
    """A text file for one transcript; a file appears under its name only when the block ends well.

    Raises:
        OutputError: it cannot be written.
    """
    if path is None:
        with standard_output() as file:
            yield file
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            yield file
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another -o folder"
        ) from error
