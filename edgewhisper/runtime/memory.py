"""Peak memory of this process."""

import sys
from pathlib import Path


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
