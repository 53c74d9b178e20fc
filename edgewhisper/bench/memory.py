"""Peak memory of other processes, sampled by their parent: VmHWM, the most resident memory since they began."""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from edgewhisper.errors import EdgeWhisperError

# The figure only grows, so what is lost is what is allocated for the first time in the last moment before the end.
_INTERVAL = 0.002  # seconds


def peak_of(pid: int) -> int:
    """The most resident memory that a process has had, in bytes; 0 when it has ended.

    Raises:
        EdgeWhisperError: the system has no /proc/PID/status.
    """
    return _status(pid, "VmHWM:")


def resident_of(pid: int) -> int:
    """The resident memory that a process has, in bytes; otherwise as `peak_of`."""
    return _status(pid, "VmRSS:")


def _status(pid: int, key: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except ProcessLookupError:
        return 0
    except OSError:
        raise EdgeWhisperError("peak memory of a process is only measured on Linux") from None
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(key)), 0)


def peak_of_command(command: Sequence[str]) -> int:
    """Run a command to its end; its peak memory in bytes.

    Raises:
        EdgeWhisperError: it failed; the message is the last line it wrote.
    """
    peak = 0
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        try:
            while process.poll() is None:
                peak = max(peak, peak_of(process.pid))
                time.sleep(_INTERVAL)
        finally:
            process.kill()  # nothing, where it has ended
            process.wait()
        if process.returncode != 0:
            log.seek(0)
            line = (log.read().strip().splitlines() or ["ended without a word"])[-1]
            raise EdgeWhisperError(f"{' '.join(command)} failed: {line}")
    return peak
