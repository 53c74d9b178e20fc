"""The steps of a build: announced as they begin, and timed."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class BuildStep:
    """A step of a build: number 1 .. total.

    Attributes:
        fraction: how much of it is done; 0 as it begins. Long steps are told of again and again.
    """

    number: int
    total: int
    name: str
    fraction: float = 0.0


Progress = Callable[[BuildStep], None]


class Steps:
    """Announces and times the steps of a build.

    Attributes:
        total: how many steps there will be, as far as is known.
        seconds: step -> time it took.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self.total = total
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[Callable[[float], None]]:
        """A step; gives a function that is told how much of it is done, from 0 to 1."""
        number = len(self.seconds) + 1
        self.total = max(self.total, number)
        step = BuildStep(number, self.total, name)
        self._progress(step)
        begin = time.perf_counter()
        yield lambda fraction: self._progress(replace(step, fraction=fraction))
        self.seconds[name] = round(time.perf_counter() - begin, 3)
