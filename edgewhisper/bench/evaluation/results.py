"""Results of an evaluation, a line of JSON for each recording: appended as it is transcribed, and gone on with after an interruption."""

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from edgewhisper.artifact import parse_json
from edgewhisper.errors import ArtifactError, OutputError, UsageError

SCHEMA, VERSION = "edgewhisper-eval", 1
_BEGIN = b'{"schema": '


@dataclass(frozen=True)
class Result:
    """One recording.

    Attributes:
        key: its name in the corpus.
        stamp: of the recording as it was, see `Utterance.stamp`.
        reference: the transcript; None where there is none.
        text: what was written; None where it failed.
        language: that it was transcribed in.
        spoken: language that the corpus states.
        tokens: that were written.
        audio: seconds of sound.
        seconds: that transcribing took.
        problem: why it was not transcribed, or has no reference.
    """

    key: str
    stamp: str
    reference: str | None
    text: str | None
    language: str | None = None
    tokens: tuple[int, ...] = ()
    audio: float = 0.0
    seconds: float = 0.0
    problem: str | None = None
    spoken: str | None = None


@dataclass(frozen=True)
class Header:
    """The first line.

    Attributes:
        artifact: the name of its folder.
        model: the name of its model.
        artifact_sha256: of its manifest.
        corpus: where the corpus is.
        options: that it is transcribed with.
    """

    artifact: str
    model: str
    artifact_sha256: str
    corpus: str
    options: dict[str, str]


class ResultsFile:
    """A file of results that is written to its end, whatever happens in between.

    A line is written whole or not at all: one that is cut off at the end is what a killed process was writing, and is dropped.
    """

    def __init__(self, path: Path, header: Header) -> None:
        """Open it; it is made, or gone on with.

        Raises:
            UsageError: it holds something else, or results of another artifact, corpus or options.
            OutputError: it cannot be written.
        """
        self._path = path
        self.done: dict[str, str] = {}
        """Key -> stamp of what was transcribed; what failed is tried again."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.stat().st_size:
                self._continue(header)
            else:
                self._file = path.open("a", encoding="utf-8")
                self._lock()
                self._write({"schema": SCHEMA, "version": VERSION, **dataclasses.asdict(header)})
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written ({error.strerror}); choose another folder"
            ) from None
        except UsageError:
            self._file.close()
            raise

    def _lock(self) -> None:
        """Keep other processes away until it is closed."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UsageError(
                f"{self._path}: another process writes to it; wait for it, or choose another folder"
            ) from None

    def _continue(self, header: Header) -> None:
        self._file = self._path.open("a", encoding="utf-8")
        self._lock()
        content = self._path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole == 0 and content[: len(_BEGIN)] != _BEGIN[: len(content)]:
            raise _not_results(self._path)
        if whole:
            found = read_header(self._path)
            if found != header:
                differing = next(
                    field.name
                    for field in dataclasses.fields(Header)
                    if getattr(found, field.name) != getattr(header, field.name)
                )
                raise UsageError(
                    f"{self._path}: holds results of another {differing.replace('artifact_sha256', 'build of the artifact')}; "
                    "choose another folder, or remove it"
                )
            self.done = {
                result.key: result.stamp for result in read_results(self._path) if result.text is not None
            }
        if whole < len(content):
            with self._path.open("r+b") as file:
                file.truncate(whole)
        if not whole:
            self._write({"schema": SCHEMA, "version": VERSION, **dataclasses.asdict(header)})

    def add(self, result: Result) -> None:
        """Append a result.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            self._write(dataclasses.asdict(result))
        except OSError as error:
            raise OutputError(
                f"{self._path}: cannot be written ({error.strerror}); make room and run the command again, it goes on"
            ) from None
        if result.text is not None:
            self.done[result.key] = result.stamp

    def _write(self, content: Mapping[str, object]) -> None:
        # ASCII, as names of files may hold what is no text in any encoding.
        self._file.write(json.dumps(content) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync(self._file.fileno())
        self._file.close()


def read_header(path: Path) -> Header:
    """What a file of results says of itself.

    Raises:
        UsageError: it is not there, no file of results, or of a newer version.
    """
    try:
        with path.open(encoding="utf-8") as file:
            content = json.loads(file.readline())
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); give results of 'edgewhisper eval'"
        ) from None
    except ValueError:
        raise _not_results(path) from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise _not_results(path)
    version = content.get("version")
    if type(version) is not int or version > VERSION:
        raise UsageError(f"{path}: version {version!r} is newer than {VERSION}; upgrade edgewhisper")
    if version < VERSION:
        raise UsageError(f"{path}: version {version} is older than {VERSION}; remove it and evaluate again")
    try:
        header: Header = parse_json(Header, content, str(path))
    except ArtifactError:
        raise _not_results(path) from None
    return header


def read_results(path: Path) -> Iterator[Result]:
    """The results in a file, one after the other; of several for one recording the last one counts, and a line that is cut off at
    the end is left out.

    Raises:
        UsageError: a line in the middle is damaged.
    """
    last: dict[str, int] = {}
    for number, line in _lines(path):
        last[_parsed(path, number, line).key] = number
    for number, line in _lines(path):
        result = _parsed(path, number, line)
        if last[result.key] == number:
            yield result


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, 1):
            if number > 1 and line.endswith("\n"):
                yield number, line


def _parsed(path: Path, number: int, line: str) -> Result:
    try:
        result: Result = parse_json(Result, json.loads(line), str(path))
    except (ValueError, ArtifactError):
        raise UsageError(
            f"{path}: line {number} is damaged; remove the line, and the recording is transcribed again"
        ) from None
    return result


def printable(text: str) -> str:
    """A name for a table: on one line, without tabs, and in UTF-8."""
    line = text.translate({9: "\\t", 10: "\\n", 13: "\\r"})
    return line.encode("utf-8", "backslashreplace").decode("utf-8")


def _not_results(path: Path) -> UsageError:
    return UsageError(f"{path}: holds no results of 'edgewhisper eval'; choose another folder")
