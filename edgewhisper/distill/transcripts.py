"""A folder of FLAC recordings with `transcripts.tsv`, one line a recording."""

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from edgewhisper.errors import AudioError

from .espeak import SAMPLE_RATE
from .recordings import Recording

_TABLE = "transcripts.tsv"
_COLUMNS = ("file", "group", "language", "voice", "duration", "text", "segments")


@dataclass(frozen=True)
class TimedText:
    """One sentence of a recording; times in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Transcript:
    """One line of the table."""

    file: str
    group: str
    language: str
    voice: str
    """The espeak-ng voice, or what is heard where nobody speaks."""

    duration: float
    text: str
    segments: tuple[TimedText, ...]


def describe(recording: Recording, file: str, group: str) -> Transcript:
    """The transcript of a recording that will be written as `file`."""
    segments = tuple(
        TimedText(round(sentence.start, 2), round(sentence.end, 2), sentence.text)
        for sentence in recording.sentences
    )
    return Transcript(
        file,
        group,
        recording.language,
        recording.voice,
        round(recording.duration, 2),
        recording.text,
        segments,
    )


def write_recording(directory: Path, file: str, samples: npt.NDArray[np.int16]) -> None:
    """Writes 16 kHz mono PCM as 16-bit FLAC."""
    soundfile.write(directory / file, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


def read_recording(directory: Path, transcript: Transcript) -> npt.NDArray[np.int16]:
    """Reads the PCM of a recording."""
    try:
        samples, _ = soundfile.read(directory / transcript.file, dtype="int16")
    except (OSError, soundfile.SoundFileError) as error:
        raise AudioError(f"{directory / transcript.file} cannot be read: {error}") from error
    return np.asarray(samples, np.int16)


def write_table(directory: Path, transcripts: Iterable[Transcript]) -> None:
    with (directory / _TABLE).open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(
            stream, dialect="excel-tab", quoting=csv.QUOTE_NONE, lineterminator="\n", quotechar=None
        )
        writer.writerow(_COLUMNS)
        for item in transcripts:
            segments = json.dumps(
                [[segment.start, segment.end, segment.text] for segment in item.segments], ensure_ascii=False
            )
            writer.writerow([
                item.file, item.group, item.language, item.voice, f"{item.duration:.2f}", item.text, segments
            ])  # fmt: skip


def read_table(directory: Path) -> list[Transcript]:
    """Reads the table of a folder.

    Raises:
        AudioError: there is no table, or it is not one of this format.
    """
    try:
        with (directory / _TABLE).open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, dialect="excel-tab", quoting=csv.QUOTE_NONE)
            if tuple(reader.fieldnames or ()) != _COLUMNS:
                raise ValueError(f"its columns are not {', '.join(_COLUMNS)}")
            return [_parse(row) for row in reader]
    except FileNotFoundError as error:
        raise AudioError(
            f"{directory} has no {_TABLE}: it is not a folder of transcribed recordings"
        ) from error
    except (KeyError, TypeError, ValueError) as error:
        raise AudioError(f"{directory / _TABLE} is damaged: {error}") from error


def _parse(row: dict[str, str]) -> Transcript:
    segments = tuple(TimedText(start, end, text) for start, end, text in json.loads(row["segments"]))
    return Transcript(
        row["file"],
        row["group"],
        row["language"],
        row["voice"],
        float(row["duration"]),
        row["text"],
        segments,
    )
