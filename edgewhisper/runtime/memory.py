"""Memory of this process."""

import sys
from pathlib import Path

_M_MMAP_THRESHOLD = -3  # malloc.h
_RETURNED_BYTES = 128 * 1024  # glibc's threshold before it rises
_UNKNOWN = 1 << 30
_ROOT = Path("/")


def memory_figures(root: Path = _ROOT) -> dict[str, int]:
    """The lines of /proc/meminfo below `root`, in bytes; none where the system does not tell."""
    try:
        lines = (root / "proc" / "meminfo").read_text().splitlines()
    except OSError:
        return {}
    words = (line.split() for line in lines if line.endswith(" kB"))
    return {key.rstrip(":"): int(value) * 1024 for key, value, _ in words}


def control_groups(root: Path = _ROOT) -> list[Path]:
    """The folders of this process's control group and of those around it, the innermost first (version 2)."""
    base = root / "sys" / "fs" / "cgroup"
    try:
        line = (root / "proc" / "self" / "cgroup").read_text().splitlines()[0]
    except (OSError, IndexError):
        return [base]
    place = base / line.rpartition(":")[2].lstrip("/")
    return [place, *(parent for parent in place.parents if parent.is_relative_to(base))]


def available_memory(root: Path = _ROOT) -> int:
    """What the system can give without swapping, in bytes, within the limits of the control groups; a gigabyte where it does not tell."""
    available = memory_figures(root).get("MemAvailable", _UNKNOWN)
    for group in control_groups(root):
        try:
            limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
            if limit != "max":
                available = max(0, min(available, int(limit) - int(used)))
        except (OSError, ValueError):
            continue
    return available


def memory_with_swap(root: Path = _ROOT) -> int:
    """What a program can have where the system moves memory to the disk, in bytes: `available_memory` and free swap."""
    return available_memory(root) + memory_figures(root).get("SwapFree", 0)


def peak_memory() -> int:
    """The most resident memory that this process has had, in bytes.

    On Linux this is VmHWM of /proc/self/status: `ru_maxrss` there starts from what the parent process had. 0 where the
    system tells neither (Windows).
    """
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) * 1024
    except (OSError, StopIteration):
        try:
            import resource
        except ImportError:
            return 0
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def resident_memory() -> int:
    """The memory of this process that is resident now, in bytes; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024
    except (OSError, StopIteration):
        return 0


def return_freed_memory() -> None:
    """Have the C library give what was freed and lies between used blocks back to the system, where it can (glibc)."""
    if sys.platform != "linux":
        return
    import ctypes

    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


def return_large_blocks() -> None:
    """Have the C library give freed blocks of 128 KiB and more back to the system, for the rest of the process.

    glibc's own threshold rises to 32 MB with the blocks that are freed; later ones are then kept, in pieces that fit no other.
    Other C libraries are left as they are.
    """
    if sys.platform != "linux":
        return
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _RETURNED_BYTES)
