"""Memory of this process."""

import sys
from pathlib import Path

_M_MMAP_THRESHOLD = -3  # malloc.h
_RETURNED_BYTES = 128 * 1024  # glibc's threshold before it rises


_UNKNOWN = 1 << 30


def available_memory() -> int:
    """What the system can give without swapping, in bytes, within the limit of the control group; a gigabyte where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024
    except (OSError, StopIteration):
        return _UNKNOWN
    try:
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return available if limit == "max" else max(0, min(available, int(limit) - int(used)))
    except (OSError, ValueError):
        return available


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
