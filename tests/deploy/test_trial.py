"""What becomes of work in a forked child, crashes included."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from edgewhisper.deploy.doctor.trial import Outcome, Reporter, run_forked
from edgewhisper.errors import EdgeWhisperError, ProviderError
from tests.deploy.crashes import illegal_instruction, needs_illegal_instruction


def test_what_the_child_finds_arrives_in_order() -> None:
    def work(reporter: Reporter) -> None:
        reporter.begin("counting")
        for number in range(3):
            reporter.found("number", number)
        reporter.found("text", "zwölf\nLinien")

    outcome = run_forked(work, 30)
    assert outcome == Outcome("done", "counting", {"number": [0, 1, 2], "text": ["zwölf\nLinien"]})
    assert outcome.first("number") == 0
    assert outcome.first("nothing") is None


@needs_illegal_instruction
def test_a_real_illegal_instruction_is_told_with_the_step_it_happened_in() -> None:
    def work(reporter: Reporter) -> None:
        reporter.begin("loading")
        reporter.found("version", "1.21.0")
        illegal_instruction()

    outcome = run_forked(work, 30)
    assert (outcome.ending, outcome.signal, outcome.step) == ("signal", signal.SIGILL, "loading")
    assert outcome.message == "ended with an illegal instruction (SIGILL)"
    assert outcome.first("version") == "1.21.0"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (signal.SIGSEGV, "segmentation fault"),
        (signal.SIGBUS, "bus error"),
        (signal.SIGABRT, "abort"),
        (signal.SIGKILL, "want of memory"),
        (signal.SIGTERM, "SIGTERM"),
        (signal.SIGRTMIN + 3, f"signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_other_signals_are_named(number: int, words: str) -> None:
    outcome = run_forked(lambda _: os.kill(os.getpid(), number), 30)
    assert (outcome.ending, outcome.signal) == ("signal", number)
    assert words in outcome.message


def test_what_a_library_printed_last_is_quoted() -> None:
    def work(_: Reporter) -> None:
        os.write(2, b"a first line\nterminate called without an active exception\n")
        os.abort()

    assert run_forked(work, 30).message.endswith("it said: terminate called without an active exception")


def test_what_a_library_prints_does_not_mix_with_what_is_found(capfd: pytest.CaptureFixture[str]) -> None:
    def work(reporter: Reporter) -> None:
        os.write(1, b"no line end")
        reporter.found("number", 1)
        os.write(2, b"and again")

    assert run_forked(work, 30) == Outcome("done", values={"number": [1]})
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ProviderError("no provider; take another"), "no provider; take another"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (MemoryError(), "memory does not suffice"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
    ],
)
def test_an_exception_is_told(error: BaseException, message: str) -> None:
    def work(_: Reporter) -> None:
        raise error

    outcome = run_forked(work, 30)
    assert (outcome.ending, outcome.message) == ("error", message)


def test_an_exit_behind_pythons_back_is_told() -> None:
    outcome = run_forked(lambda _: os._exit(7), 30)
    assert (outcome.ending, outcome.message) == ("error", "the process ended with code 7")


def test_a_child_that_does_not_end_is_killed() -> None:
    def work(reporter: Reporter) -> None:
        reporter.begin("waiting")
        time.sleep(60)

    started = time.monotonic()
    outcome = run_forked(work, 0.3)
    assert (outcome.ending, outcome.step) == ("timeout", "waiting")
    assert time.monotonic() - started < 10


def test_an_interrupt_leaves_no_child_behind(tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def work(_: Reporter) -> None:
        path.write_text(str(os.getpid()))
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run_forked(work, 30)
    with pytest.raises(ProcessLookupError):
        os.kill(int(path.read_text()), 0)


def test_a_crash_leaves_no_core_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_forked(lambda _: os.abort(), 30)
    assert not list(tmp_path.iterdir())


def test_no_file_stays_open() -> None:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    run_forked(lambda _: None, 30)
    assert (len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0) == before


def test_a_system_that_gives_no_process_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(EdgeWhisperError, match=r"Cannot allocate memory\); end other programs"):
        run_forked(lambda _: None, 30)
