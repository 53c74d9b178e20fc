"""Lessons on their way to training: read ahead by other threads, and kept in memory as far as there is room."""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from edgewhisper.runtime.memory import available_memory

from .teacher import Lesson, read_lesson

_READERS = 2
_AHEAD = 4
"""Batches that are read while one is learnt from."""

_SHARE = 0.5
"""Of the memory that is free at the beginning."""


class Shelf:
    """Holds the lessons that were read."""

    def __init__(self, room: int | None = None) -> None:
        """`room`: bytes; None: half of the memory that is free now."""
        self._room = int(_SHARE * available_memory()) if room is None else room
        self._held: dict[Path, Lesson] = {}
        self._lock = threading.Lock()

    def batches(self, chosen: Iterable[Sequence[Path]]) -> Generator[list[Lesson], None, None]:
        """The lessons of each choice, in order."""
        with ThreadPoolExecutor(_READERS) as readers:
            waiting: deque[Future[list[Lesson]]] = deque()
            for paths in chosen:
                waiting.append(readers.submit(self._read_all, paths))
                if len(waiting) > _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _read_all(self, paths: Sequence[Path]) -> list[Lesson]:
        return [self._read(path) for path in paths]

    def _read(self, path: Path) -> Lesson:
        held = self._held.get(path)
        if held is not None:
            return held
        lesson = read_lesson(path)
        with self._lock:
            if path not in self._held and lesson.nbytes <= self._room:
                self._held[path] = lesson
                self._room -= lesson.nbytes
        return lesson
