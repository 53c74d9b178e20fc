"""The machine that is examined: where its files are, and what its processor is."""

import functools
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.runtime.cpuinfo import CpuInfo, read_cpuinfo
from edgewhisper.runtime.memory import control_groups

# Cores of less than this share of the fastest one's speed make a step wait for them.
_FAST = 0.8


@dataclass(frozen=True)
class Host:
    """A machine. Everything that /proc, /sys and /dev tell is read below `root`.

    Attributes:
        root: of the file system.
        architecture: of the kernel; None: this machine's.
        bits: of a pointer of the Python that runs this, 32 or 64.
        allowed: processors that this process may run on; None: all that are online.
    """

    root: Path = Path("/")
    architecture: str | None = None
    bits: int = 8 * struct.calcsize("P")
    allowed: frozenset[int] | None = None

    @functools.cached_property
    def processor(self) -> CpuInfo:
        """What /proc/cpuinfo and the kernel tell."""
        return read_cpuinfo(self.root, self.architecture)

    @functools.cached_property
    def cores(self) -> "Cores":
        """Its cores."""
        return read_cores(self)

    def text(self, path: str) -> str | None:
        """A file's text below the root without white space around it; None where it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip("\0 \n")
        except OSError:
            return None

    def number(self, path: str) -> int | None:
        """The number that a file holds; None where there is none."""
        try:
            return int(self.text(path) or "")
        except ValueError:
            return None


def this_host() -> Host:
    """The machine that this runs on."""
    allowed = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return Host(allowed=allowed)


@dataclass(frozen=True)
class Cores:
    """How many processors there are.

    Attributes:
        logical: that may be used.
        physical: of them, counting those that share a core once.
        fast: of the physical ones, those that are about as fast as the fastest.
        quota: processors' worth of time that the control group allows; None: no limit.
        governor: how the clock is set; "" where the system does not tell.
        driver: that sets it.
        megahertz: the highest clock; None where the system does not tell.
    """

    logical: int
    physical: int
    fast: int
    quota: float | None = None
    governor: str = ""
    driver: str = ""
    megahertz: int | None = None

    @property
    def threads(self) -> int:
        """The threads that suit one graph."""
        return self.fast if self.quota is None else max(1, min(self.fast, int(self.quota)))


_CPU = "sys/devices/system/cpu"


def read_cores(host: Host) -> Cores:
    """Count them; where /sys does not tell, by what Python knows."""
    online = _numbers(host.text(f"{_CPU}/online") or "")
    usable = sorted(online & host.allowed if host.allowed and online else online or host.allowed or ())
    if not usable:
        count = os.cpu_count() or 1
        return Cores(count, count, count, _quota(host))
    speeds: dict[str, int] = {}
    for core in usable:
        siblings = host.text(f"{_CPU}/cpu{core}/topology/thread_siblings_list") or str(core)
        speeds.setdefault(siblings, _speed(host, core))
    fastest = max(speeds.values())
    clock = f"{_CPU}/cpu{usable[-1]}/cpufreq"
    kilohertz = max(host.number(f"{_CPU}/cpu{core}/cpufreq/cpuinfo_max_freq") or 0 for core in usable)
    return Cores(
        logical=len(usable),
        physical=len(speeds),
        fast=sum(speed >= _FAST * fastest for speed in speeds.values()),
        quota=_quota(host),
        governor=host.text(f"{clock}/scaling_governor") or "",
        driver=host.text(f"{clock}/scaling_driver") or "",
        megahertz=kilohertz // 1000 or None,
    )


def _speed(host: Host, core: int) -> int:
    """Relative to other cores of the machine."""
    found = host.number(f"{_CPU}/cpu{core}/cpu_capacity")
    return found or host.number(f"{_CPU}/cpu{core}/cpufreq/cpuinfo_max_freq") or 1


def _numbers(text: str) -> set[int]:
    """ "0-2,5" -> {0, 1, 2, 5}"""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            found.update(range(int(first), int(last or first) + 1))
    return found


def _quota(host: Host) -> float | None:
    least: float | None = None
    for group in control_groups(host.root):
        words = (host.text(str((group / "cpu.max").relative_to(host.root))) or "").split()
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[1]):
            quota = int(words[0]) / int(words[1])
            least = quota if least is None else min(least, quota)
    return least
