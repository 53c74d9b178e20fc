"""Whether a timing counts: did its threads get their cores?

On a shared machine other processes and, in a virtual machine, the host take time from a measurement; so do an engine's own
threads, when there are more of them than cores. Linux accounts for it: the time that a thread waited in a run queue, and
the time stolen from the processors.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# Beyond this share of wall time a timing is repeated or marked.
TOLERATED = 0.05


@dataclass
class Timing:
    """A stretch of wall time and the share of it that the threads had to wait."""

    seconds: float = 0.0
    waited: float = 0.0  # run-queue delay, mean of this process's busy threads, as a share of wall time
    stolen: float = 0.0  # steal, mean of the processors, as a share of wall time
    cpu: float = 0.0  # seconds of processor time of all threads, over wall time

    @property
    def disturbance(self) -> float:
        """What others took, as a share of wall time."""
        return self.waited + self.stolen

    @property
    def counts(self) -> bool:
        """Whether the threads got their cores."""
        return self.disturbance <= TOLERATED


@contextmanager
def timed() -> Iterator[Timing]:
    """Time a block of this process; the result is complete when the block ends."""
    timing = Timing()
    threads, stolen = _threads(), _stolen_seconds()
    cpu, start = time.process_time(), time.perf_counter()
    yield timing
    timing.seconds = time.perf_counter() - start
    timing.cpu = (time.process_time() - cpu) / timing.seconds
    delays = []
    for thread, (ran, waited) in _threads().items():
        ran_before, waited_before = threads.get(thread, (0.0, 0.0))
        if ran - ran_before > timing.seconds / 10:  # an idle thread waits for nothing
            delays.append(waited - waited_before)
    timing.waited = sum(delays) / len(delays) / timing.seconds if delays else 0.0
    timing.stolen = (_stolen_seconds() - stolen) / timing.seconds


def _threads() -> dict[str, tuple[float, float]]:
    """Thread -> seconds it ran and seconds it waited to run (/proc/PID/task/TID/schedstat); none where the system does not tell."""
    found = {}
    try:
        threads = list(Path("/proc/self/task").iterdir())
    except OSError:
        return {}
    for thread in threads:
        try:
            ran, waited, _ = (thread / "schedstat").read_text().split()
        except (OSError, ValueError):
            continue
        found[thread.name] = (int(ran) / 1e9, int(waited) / 1e9)
    return found


def _stolen_seconds() -> float:
    """Seconds stolen from a processor since boot, mean of all (eighth figure of /proc/stat's first line); 0 where nobody tells."""
    try:
        ticks = int(Path("/proc/stat").read_text().splitlines()[0].split()[8])
        return ticks / os.sysconf("SC_CLK_TCK") / (os.cpu_count() or 1)
    except (OSError, ValueError, IndexError, AttributeError):
        return 0.0
