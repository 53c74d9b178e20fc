"""Recordings with what is said in them: a folder with transcripts.tsv, or with a .txt beside each recording."""

import csv
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.errors import UsageError

from .recordings import BUNDLED_RECORDINGS, list_recordings

TABLE = "transcripts.tsv"
_HINT = f"give '{TABLE}' with the columns file and text, or a .txt beside each recording"


@dataclass(frozen=True)
class Spoken:
    """A recording and its transcript, empty where nobody speaks."""

    path: Path
    text: str


def read_transcripts(folder: Path | None) -> list[Spoken]:
    """The recordings of an evaluation set.

    Args:
        folder: where they are; None: the bundled ones.

    Raises:
        UsageError: the folder, a recording or a transcript is missing or cannot be read, or nothing is said in any.
    """
    folder = folder or BUNDLED_RECORDINGS
    recordings = list_recordings(folder, "--evaluation")
    table = folder / TABLE
    try:
        spoken = _of_table(table) if table.is_file() else [_beside(path) for path in recordings]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{folder}: its transcripts cannot be read ({error}); {_HINT}") from None
    if not any(recording.text.strip() for recording in spoken):
        raise UsageError(f"{folder}: its transcripts hold no word; {_HINT}")
    return spoken


def _of_table(table: Path) -> list[Spoken]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        missing = {"file", "text"} - set(reader.fieldnames or ())
        if missing:
            raise UsageError(f"{table}: has no column '{min(missing)}'; {_HINT}")
        spoken = []
        for row in reader:
            if not row["file"]:
                raise UsageError(f"{table}: line {reader.line_num} names no file; correct the table")
            spoken.append(Spoken(table.parent / row["file"], row["text"] or ""))
    for recording in spoken:
        if not recording.path.is_file():
            raise UsageError(f"{table}: names '{recording.path.name}', which is not there; correct the table")
    return spoken


def _beside(recording: Path) -> Spoken:
    transcript = recording.with_suffix(".txt")
    if not transcript.is_file():
        raise UsageError(f"{recording}: has no transcript '{transcript.name}' beside it; {_HINT}")
    return Spoken(recording, transcript.read_text(encoding="utf-8").strip())
