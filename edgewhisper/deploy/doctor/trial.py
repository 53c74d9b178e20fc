"""Work that may end its process, done in a forked child.

The child is forked and executes no other program, as an emulated process without binfmt cannot. It tells what it begins and finds
as it goes, so that the parent knows where it ended, be it by an illegal instruction.
"""

import contextlib
import faulthandler
import json
import os
import select
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from edgewhisper.errors import EdgeWhisperError

Ending = Literal["done", "error", "signal", "timeout"]
# Lines of the child's own, among what libraries print.
_MARK = b"\x1eedgewhisper "
_QUOTED = 300  # characters of what a library printed last
_WORDS = {
    signal.SIGILL: "an illegal instruction (SIGILL)",
    signal.SIGSEGV: "a segmentation fault (SIGSEGV)",
    signal.SIGBUS: "a bus error (SIGBUS)",
    signal.SIGFPE: "an arithmetic error (SIGFPE)",
    signal.SIGABRT: "an abort (SIGABRT)",
    signal.SIGKILL: "being killed (SIGKILL), most often for want of memory",
}


@dataclass
class Outcome:
    """What became of a child.

    Attributes:
        ending: how it ended: done; an exception (`message` is its text); a signal; or nothing for too long, when it was killed.
        step: what it had begun last.
        values: what it found, also before it ended early; each a list in the order of finding.
        message: one line about an ending that is not "done".
        signal: the signal's number.
    """

    ending: Ending = "done"
    step: str = ""
    values: dict[str, list[Any]] = field(default_factory=dict)
    message: str = ""
    signal: int = 0

    def first(self, name: str) -> Any:
        """The first value of that name; None where there is none."""
        return next(iter(self.values.get(name, ())), None)


class Reporter:
    """The child's side: tells the parent what happens."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def begin(self, step: str) -> None:
        """What is done next; a crash is told as one of this."""
        self._send({"step": step})

    def found(self, name: str, value: Any) -> None:
        """A value, as JSON has it."""
        self._send({"name": name, "value": value})

    def _send(self, content: dict[str, Any]) -> None:
        os.write(self._descriptor, b"\n" + _MARK + json.dumps(content).encode() + b"\n")


def run_forked(work: Callable[[Reporter], None], timeout: float) -> Outcome:
    """Do `work` in a forked child, and wait for its end.

    Args:
        work: called in the child.
        timeout: seconds after which the child is killed.

    Raises:
        EdgeWhisperError: no process can be made, or this is not Linux or macOS.
    """
    if not hasattr(os, "fork"):
        raise EdgeWhisperError("this system cannot fork a process; the doctor is for Linux")
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # An interrupt waits until there is someone who ends the child.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        try:
            child = _fork()
            if child == 0:
                _be_child(work, reading, writing, mask)
        finally:
            os.close(writing)
        return _follow(child, reading, time.monotonic() + timeout, mask)
    finally:
        os.close(reading)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _fork() -> int:
    try:
        with warnings.catch_warnings():
            # Python warns where the parent has threads. The child takes no lock of theirs: it works with what it loads itself.
            warnings.simplefilter("ignore", DeprecationWarning)
            return os.fork()
    except OSError as error:
        raise EdgeWhisperError(
            f"no process can be made ({error.strerror}); end other programs and try again"
        ) from None


def _be_child(work: Callable[[Reporter], None], reading: int, writing: int, mask: set[int]) -> None:
    """Never returns: nothing of the parent's (handlers, buffers, tests) may run twice."""
    code = 1
    try:
        os.close(reading)
        faulthandler.disable()  # the parent tells of crashes
        os.dup2(writing, 1)
        os.dup2(writing, 2)
        with contextlib.suppress(ImportError, ValueError, OSError):
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash leaves no core file
        reporter = Reporter(writing)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            work(reporter)
            code = 0
        except BaseException as error:
            reporter.found("exception", _describe(error))
    finally:
        os._exit(code)


def _describe(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "memory does not suffice"
    text = " ".join(str(error).split())
    return text if isinstance(error, EdgeWhisperError) else f"{type(error).__name__}: {text}"


def _follow(child: int, reading: int, deadline: float, mask: set[int]) -> Outcome:
    outcome, rest, printed, timed_out = Outcome(), b"", "", False
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        while data := _read(reading, deadline):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                printed = _take(outcome, line) or printed
    except TimeoutError:
        timed_out = True
        os.kill(child, signal.SIGKILL)
    except BaseException:  # an interrupt
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    _, status = os.waitpid(child, 0)
    _conclude(outcome, status, timed_out, _take(outcome, rest) or printed)
    return outcome


def _read(reading: int, deadline: float) -> bytes:
    """What comes next; nothing at the end."""
    if not select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0]:
        raise TimeoutError
    return os.read(reading, 65_536)


def _take(outcome: Outcome, line: bytes) -> str:
    """Note a line of the child's; a library's is returned."""
    if not line.startswith(_MARK):
        return line.decode(errors="replace").strip()
    content = json.loads(line.removeprefix(_MARK))
    if "step" in content:
        outcome.step = content["step"]
    else:
        outcome.values.setdefault(content["name"], []).append(content["value"])
    return ""


def _conclude(outcome: Outcome, status: int, timed_out: bool, printed: str) -> None:
    exception = outcome.values.pop("exception", [])
    said = f"; it said: {printed[:_QUOTED]}" if printed else ""
    if timed_out:
        outcome.ending, outcome.message = "timeout", "did not end in time"
    elif exception:
        outcome.ending, outcome.message = "error", exception[0]
    elif os.WIFSIGNALED(status):
        outcome.ending, outcome.signal = "signal", os.WTERMSIG(status)
        outcome.message = f"ended with {_words(outcome.signal)}{said}"
    elif status != 0:
        code = os.waitstatus_to_exitcode(status)
        outcome.ending, outcome.message = "error", f"the process ended with code {code}{said}"


def _words(number: int) -> str:
    try:
        found = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return _WORDS.get(found, found.name)
