"""Peak memory of other processes."""

import os
import subprocess
import sys

import pytest

from edgewhisper.bench.memory import peak_of, peak_of_command
from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.memory import peak_memory

MEGABYTE = 10**6


def peak_of_python(program: str) -> int:
    return peak_of_command([sys.executable, "-c", program])


def test_a_process_has_the_same_peak_seen_from_outside() -> None:
    assert peak_of(os.getpid()) == pytest.approx(peak_memory(), rel=0.01)


def test_memory_counts_that_is_free_again_at_the_end() -> None:
    kept = peak_of_python("import time; time.sleep(0.1)")
    freed = peak_of_python("import time; x = b'1' * 100_000_000; del x; time.sleep(0.1)")
    assert freed - kept == pytest.approx(100 * MEGABYTE, rel=0.1)


def test_what_this_process_holds_is_not_counted() -> None:
    held = b"1" * (300 * MEGABYTE)
    assert peak_of_python("import time; time.sleep(0.1)") < 100 * MEGABYTE
    assert len(held) == 300 * MEGABYTE


def test_a_process_that_has_ended_has_no_peak() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(EdgeWhisperError):
        peak_of(process.pid)


def test_a_command_that_fails_is_reported_with_its_last_line() -> None:
    with pytest.raises(EdgeWhisperError, match="failed: ValueError: no weights"):
        peak_of_python("raise ValueError('no weights')")
