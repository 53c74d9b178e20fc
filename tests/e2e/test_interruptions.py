"""A command that is killed, or for which there is no room, leaves what was there before."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

EDGEWHISPER = Path(sys.executable).with_name("edgewhisper")
SMALL_FILE = 50_000  # bytes; the demo model's weights are larger


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALL_FILE, SMALL_FILE))


def run(
    *arguments: str | Path, preexec_fn: Callable[[], None] | None = None, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [EDGEWHISPER, *arguments], text=True, preexec_fn=preexec_fn, stdout=stdout, stderr=subprocess.PIPE
    )


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def old_artifact(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    assert run("build", "demo", "-o", folder, "--no-parity").returncode == 0
    return folder


def test_a_full_disk_during_a_build_leaves_the_old_artifact(old_artifact: Path, tmp_path: Path) -> None:
    before = contents(tmp_path)
    outcome = run("build", "demo", "-o", old_artifact, "--no-parity", preexec_fn=limit_file_size)
    assert outcome.returncode == 1
    assert outcome.stderr.splitlines()[-1].startswith(f"edgewhisper: error: {old_artifact}: ")
    assert "Traceback" not in outcome.stderr
    assert contents(tmp_path) == before


def test_a_kill_during_a_build_leaves_the_old_artifact(
    old_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    before = contents(old_artifact)
    arguments: list[str | Path] = [EDGEWHISPER, "build", "demo", "-o", old_artifact, "--no-parity"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    half_written = tmp_path / f".demo.{process.pid}.tmp" / "weights.bin"
    while not half_written.exists():
        assert process.poll() is None, "the build ended before it could be killed"
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert half_written.parent.exists()
    assert contents(old_artifact) == before
    assert run("transcribe", speech, "-a", old_artifact).returncode == 0

    assert run("build", "demo", "-o", old_artifact, "--no-parity").returncode == 0
    assert [path.name for path in tmp_path.iterdir()] == ["demo"], "what the killed build left is cleaned up"


def test_an_interrupted_transcription_exits_130_and_leaves_no_file(
    demo_artifact: Path, tmp_path: Path
) -> None:
    arguments: list[str | Path] = [
        EDGEWHISPER,
        "transcribe",
        "-",
        "--raw",
        "s16le:16000",
        "-a",
        demo_artifact,
        "-o",
        tmp_path / "text",
    ]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.glob("text/.stdin*")):  # it waits for more audio
        assert process.poll() is None
        assert process.stdin is not None
        os.write(process.stdin.fileno(), bytes(32_000))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err.strip()) == (130, "")
    assert not list((tmp_path / "text").iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_standard_output_is_one_line(demo_artifact: Path, speech: Path) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    outcome = run("transcribe", speech, "-a", demo_artifact, stdout=full)
    os.close(full)
    message = "standard output: cannot be written (No space left on device); free space, or write elsewhere"
    assert (outcome.returncode, outcome.stderr) == (1, f"edgewhisper: error: {message}\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["models", "--json"], ["completion", "bash"]])
def test_a_full_disk_is_named_whatever_is_printed(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        outcome = run(*arguments, stdout=full.fileno())
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("edgewhisper: error: standard output: cannot be written (No space left")
    assert outcome.stderr.count("\n") == 1


def in_shell(redirection: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command with a stream that a shell has redirected or closed."""
    script = f'"$@" {redirection}'
    return subprocess.run(["sh", "-c", script, "sh", EDGEWHISPER, *arguments], text=True, capture_output=True)


def test_closed_streams_are_one_line(demo_artifact: Path, speech: Path) -> None:
    outcome = in_shell("<&-", "transcribe", "-", "-a", demo_artifact)
    assert (outcome.returncode, outcome.stdout) == (1, "")
    assert outcome.stderr.startswith("edgewhisper: error: standard input is closed;")
    outcome = in_shell(">&-", "transcribe", speech, "-a", demo_artifact)
    assert outcome.returncode == 1
    assert outcome.stderr.startswith("edgewhisper: error: standard output is closed;")
    assert in_shell(">&-", "models", "--json").returncode == 1


def test_without_standard_error_only_text_is_on_standard_output(demo_artifact: Path, speech: Path) -> None:
    silent = in_shell("2>&-", "transcribe", speech, "-a", demo_artifact)
    assert (silent.returncode, silent.stdout) == (0, run("transcribe", speech, "-a", demo_artifact).stdout)


def test_a_reader_that_goes_away_is_no_traceback(demo_artifact: Path, speech: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    outcome = run("transcribe", speech, "-a", demo_artifact, stdout=writer)
    os.close(writer)
    assert (outcome.returncode, outcome.stderr) == (1, "")
