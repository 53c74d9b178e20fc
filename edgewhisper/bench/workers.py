"""Engines in processes of their own, seen from the process that compares them."""

import contextlib
import json
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.contention import Timing

from .memory import peak_of, resident_of
from .progress import Tell, silent

_LAST_PATIENCE = 20.0
"""Seconds for an engine to end."""

_MODULE = "edgewhisper.bench.worker"


@dataclass(frozen=True)
class Setting:
    """What all engines have in common.

    An engine that takes longer than it may is ended and counts as failed.

    Attributes:
        work: folder that holds `checkpoint` and what the engines make of it.
        threads: of every engine.
        n_mels: of the window.
        frames: of the window.
        patience: seconds for one answer.
        conversion_patience: seconds for making what the engine loads.
    """

    work: Path
    threads: int
    n_mels: int = 80
    frames: int = 3000
    patience: float = 120.0
    conversion_patience: float = 900.0


@dataclass(frozen=True)
class Contestant:
    """An engine, and the interpreter that has its packages."""

    name: str
    python: str

    def convert(self, setting: Setting) -> None:
        """Let the engine make what it loads, in a process that ends before anything is measured.

        Raises:
            EdgeWhisperError: it failed; the message is the last line it wrote.
        """
        command = [self.python, "-m", _MODULE, "convert", self.name, str(setting.work)]
        pipe = subprocess.PIPE
        ended, lifeline = os.pipe()
        try:
            # A session of its own, so that what it starts ends with it. When this process ends, however it does, it reads that.
            process = subprocess.Popen(
                command, stdin=ended, stdout=pipe, stderr=pipe, text=True, start_new_session=True
            )
        except OSError as error:
            os.close(lifeline)
            raise EdgeWhisperError(f"{self.python}: cannot be run ({error.strerror})") from None
        finally:
            os.close(ended)
        try:
            _, written = process.communicate(timeout=setting.conversion_patience)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            raise EdgeWhisperError(
                f"converting took longer than {setting.conversion_patience:.0f} s"
            ) from None
        finally:
            os.close(lifeline)
        if process.returncode != 0:
            raise EdgeWhisperError(_last_line(written))


class Worker:
    """A running engine; a context manager, after which it has ended.

    Attributes:
        versions: of the engine's packages.
        load_seconds: from the start of the process to a loaded model.
        same_text: of the windows decoded with guesses so far, the share with the text of greedy decoding; None where there is none.
    """

    def __init__(self, contestant: Contestant, setting: Setting) -> None:
        """Start it and wait until it is ready.

        Raises:
            EdgeWhisperError: it failed; the message is the last line it wrote.
        """
        numbers = map(str, (setting.threads, setting.n_mels, setting.frames))
        self._patience = setting.patience
        started = time.perf_counter()
        self._log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (`close` closes it)
        try:
            self._process = subprocess.Popen(
                [contestant.python, "-m", _MODULE, contestant.name, str(setting.work), *numbers],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                text=True,
            )
        except OSError as error:
            self._log.close()
            raise EdgeWhisperError(f"{contestant.python}: cannot be run ({error.strerror})") from None
        try:
            self.versions: dict[str, str] = self._receive()["versions"]
        except BaseException:
            self.kill()
            raise
        self.load_seconds = time.perf_counter() - started
        self.same_text: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.kill()

    @property
    def process(self) -> int:
        """Its process's id."""
        return self._process.pid

    def ask(self, **command: object) -> Timing | None:
        """One measurement; None where the engine has no such stage.

        Raises:
            EdgeWhisperError: it failed or took too long; the process has ended then.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, which the answer tells
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
        answer = self._receive()
        timing, self.same_text = answer["timing"], answer["same_text"]
        return None if timing is None else Timing(**timing)

    def peak(self) -> int:
        """The most resident memory that the process has had, in bytes."""
        return peak_of(self._process.pid)

    def resident(self) -> int:
        """The resident memory that it has now, in bytes."""
        return resident_of(self._process.pid)

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate(timeout=_LAST_PATIENCE)
        except (subprocess.TimeoutExpired, ValueError):
            self._process.kill()
            self._process.wait()
        self._log.close()

    def kill(self) -> None:
        """End the process at once, whatever it is doing; nothing happens where it has ended."""
        self._process.kill()
        self.close()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            raise EdgeWhisperError("has ended before")
        ready, _, _ = select.select([self._process.stdout], [], [], self._patience)
        if not ready:
            self.kill()
            raise EdgeWhisperError(f"no answer within {self._patience:.0f} s")
        line = self._process.stdout.readline()
        try:
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
        except ValueError:
            self.kill()
            raise EdgeWhisperError(f"wrote something else than an answer: {line.strip():.80}") from None
        self._process.communicate()
        self._log.seek(0)
        written = self._log.read()
        self._log.close()
        if self._process.returncode < 0:
            raise EdgeWhisperError(f"ended by signal {-self._process.returncode}")
        raise EdgeWhisperError(_last_line(written))


def convert_all(contestants: Sequence[Contestant], setting: Setting, tell: Tell = silent) -> dict[str, str]:
    """Convert for every engine; those that fail are returned with the reason."""
    failed = {}
    for number, contestant in enumerate(contestants, 1):
        tell(f"converting for {contestant.name} ({number} of {len(contestants)})")
        try:
            contestant.convert(setting)
        except EdgeWhisperError as error:
            failed[contestant.name] = str(error)
    return failed


@contextlib.contextmanager
def started_workers(
    contestants: Sequence[Contestant], setting: Setting, tell: Tell = silent
) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Start every engine; those that fail are given with the reason. All have ended after it, at once where something is raised."""
    workers: dict[str, Worker] = {}
    failed: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for contestant in contestants:
            tell(f"starting {contestant.name}")
            try:
                workers[contestant.name] = stack.enter_context(Worker(contestant, setting))
            except EdgeWhisperError as error:
                failed[contestant.name] = str(error)
        yield workers, failed


def _last_line(written: str) -> str:
    return (written.strip().splitlines() or ["ended without a word"])[-1]
