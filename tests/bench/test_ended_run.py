"""A run that is ended keeps what it has measured, and leaves no process behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgewhisper.bench.run import Run, read_run
from tests.conftest import Command


@pytest.mark.parametrize("ending", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGTERM])
def test_an_ended_run_is_there_to_be_read(
    ending: signal.Signals, demo_artifact: Path, tmp_path: Path, command: Command
) -> None:
    output, log = tmp_path / "run.json", tmp_path / "log"
    bench = [sys.executable, "-m", "edgewhisper", "bench", str(demo_artifact), "--threads", "1"]
    bench += ["--rounds", "1000", "--clips", "none", "--work", str(tmp_path / "work"), "-o", str(output)]
    with log.open("w") as lines:
        process = subprocess.Popen(bench, stderr=lines, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not output.exists():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    (worker,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(ending)
    code = process.wait(60)
    run: Run = read_run(output)
    assert not run.finished
    assert run.models[0].variants[0].encoder_ms is not None
    until = time.monotonic() + 30
    while _runs(int(worker)):
        assert time.monotonic() < until
        time.sleep(0.1)
    written = log.read_text()
    assert "] demo: converting for demo (1 of 1)\n" in written
    if ending == signal.SIGTERM:
        assert code == 130
        assert written.splitlines()[-1].startswith(f"edgewhisper: ended; what was measured is in {output};")
    page = tmp_path / "tables.md"
    assert command("report", output, "--markdown", page).code == 0
    assert "The run was ended before it was finished" in page.read_text(encoding="utf-8")


def _runs(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_run_that_ends_before_anything_is_measured_says_so(demo_artifact: Path, tmp_path: Path) -> None:
    bench = [
        sys.executable,
        "-m",
        "edgewhisper",
        "bench",
        str(demo_artifact),
        "-o",
        str(tmp_path / "run.json"),
    ]
    process = subprocess.Popen(bench, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    first = process.stderr.readline()
    os.kill(process.pid, signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert "what this machine can do at most" in first
    assert rest.splitlines()[-1].startswith("edgewhisper: ended; nothing was measured")
    assert (process.returncode, (tmp_path / "run.json").exists()) == (130, False)
