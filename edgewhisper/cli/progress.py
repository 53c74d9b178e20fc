"""How far a transcription has come, on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn, Self

from edgewhisper.runtime.options import Segment

if TYPE_CHECKING:
    from tqdm import tqdm

LONG_RECORDING = 60.0  # seconds; what is shorter is done before a bar says anything
SECONDS_BETWEEN_LINES = 10.0  # a log stays readable, and a watcher sees that it goes on

KNOWN_LENGTH = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
UNKNOWN_LENGTH = "{desc}: {n:.0f} s [{elapsed}]"


class Progress:
    """Progress through one recording; a context manager, after which no bar is left."""

    def __init__(self, name: str, duration: float | None) -> None:
        """Begin; `duration` is the recording's length in seconds, if known."""
        self._name = name
        self._whole = f" of {duration:.0f}" if duration else ""
        self._last_line = time.monotonic()
        is_long = duration is None or duration >= LONG_RECORDING
        self._bar = _bar(name, duration) if is_long and sys.stderr.isatty() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, seconds: float) -> None:
        """Note that so many seconds of the recording are done."""
        if self._bar is not None:
            self._bar.update(seconds - self._bar.n)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            print(f"{self._name}: {seconds:.0f}{self._whole} s", file=sys.stderr, flush=True)

    def make_room(self, segments: Iterator[Segment]) -> Iterator[Segment]:
        """Pass `segments` on; the bar leaves the terminal's line to whoever writes one."""
        for segment in segments:
            if self._bar is not None:
                self._bar.clear()
            yield segment
            if self._bar is not None:
                self._bar.refresh()


class Count:
    """Progress through things that are counted, artifact after artifact; a context manager."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._name = ""
        self._bar: tqdm[NoReturn] | None = None
        self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, name: str, done: int, total: int | None) -> None:
        """So many of what is called `name` are done, of so many, if that is known."""
        from tqdm import tqdm

        if name != self._name:
            self.__exit__()
            self._name = name
            self._bar = (
                tqdm(desc=name, total=total, unit=f" {self._unit}", leave=False)
                if sys.stderr.isatty()
                else None
            )
        if self._bar is not None:
            self._bar.update(done - self._bar.n)
        elif time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            of_all = "" if total is None else f" of {total}"
            print(f"{name}: {done}{of_all} {self._unit}", file=sys.stderr, flush=True)


def _bar(name: str, duration: float | None) -> "tqdm[NoReturn]":
    from tqdm import tqdm

    layout = KNOWN_LENGTH if duration else UNKNOWN_LENGTH
    return tqdm(desc=name, total=duration, bar_format=layout, leave=False)
