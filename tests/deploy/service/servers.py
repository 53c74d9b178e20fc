"""A service in a process of its own, as systemd would run it, and clients of it."""

import functools
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from wyoming.asr import Transcribe
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.event import Event

PATIENCE = 60.0  # seconds after which something has gone wrong
HOST = "127.0.0.1"
_SERVING = re.compile(r"serving \S+ on tcp://127\.0\.0\.1:(\d+)")

Samples = NDArray[np.int16]


class Server:
    """`edgewhisper serve` on a free port; a context manager that ends it."""

    def __init__(
        self,
        artifact: Path,
        *options: str,
        before: Sequence[str] = (),
        environment: dict[str, str] | None = None,
    ) -> None:
        """`before` are words before the command: a program that replaces itself by it."""
        command = [*before, sys.executable, "-m", "edgewhisper", "serve", "-a", str(artifact), *options]
        if "--wyoming" not in options:
            command += ["--wyoming", f"tcp://{HOST}:0"]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env=os.environ | (environment or {})
        )
        self.log: list[str] = []
        self._reading = threading.Thread(target=self._read_log)
        self._reading.start()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.wait()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            self.log.extend(iter(lines.readline, ""))

    @functools.cached_property
    def port(self) -> int:
        """The port, as soon as it is served."""
        found: list[int] = []

        def is_serving() -> bool:
            assert self.process.poll() is None, self.log
            found.extend(int(match[1]) for line in self.log if (match := _SERVING.search(line)))
            return bool(found)

        wait_until(is_serving)
        return found[0]

    def wait_for_line(self, pattern: str) -> str:
        """The first line of the log with `pattern`, as soon as it is there."""
        wait_until(lambda: any(re.search(pattern, line) for line in self.log))
        return next(line for line in self.log if re.search(pattern, line))

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit code, as soon as the process has ended and its log is read."""
        code = self.process.wait(PATIENCE)
        self._reading.join()
        return code

    def resident_bytes(self) -> int:
        """Its memory now."""
        status = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def cpu_seconds(self) -> float:
        """Processor time so far, of all its threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def is_well(self) -> bool:
        """Whether it still answers."""
        with self.connect() as client:
            client.sendall(b'{"type": "ping", "data": {"text": "well?"}}\n')
            return b'"pong"' in client.recv(4096)

    def metrics(self) -> str:
        """Its line of metrics."""
        before = len(self.log)
        self.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: any("metrics: " in line for line in self.log[before:]))
        return next(line for line in self.log[before:] if "metrics: " in line)

    def connect(self) -> socket.socket:
        """A plain connection."""
        return socket.create_connection((HOST, self.port), PATIENCE)


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when it holds; fail when it does not for long."""
    ends = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.01)


def read_samples(path: Path) -> Samples:
    """A bundled recording: 16 kHz, one channel, 16 bits."""
    samples, rate = soundfile.read(path, dtype="int16")
    assert (rate, samples.ndim) == (16_000, 1)
    return np.asarray(samples, np.int16)


def speech_events(samples: Samples, language: str | None = "en", chunk: int = 4_000) -> list[Event]:
    """A request as Home Assistant sends it: mono, 16 kHz, 16 bits."""
    data = samples.tobytes()
    chunks = [AudioChunk(16_000, 2, 1, data[at : at + chunk]) for at in range(0, len(data), chunk)]
    return [
        Transcribe(language=language).event(),
        AudioStart(16_000, 2, 1).event(),
        *(each.event() for each in chunks),
        AudioStop().event(),
    ]


async def answers(server: Server, events: Sequence[Event], last: str = "transcript-stop") -> list[Event]:
    """What the service says to these events, up to an event of the type `last`, an error or the end."""
    return [event async for event in stream_answers(server, events, last)]


async def stream_answers(
    server: Server, events: Sequence[Event], last: str = "transcript-stop"
) -> AsyncIterator[Event]:
    """As `answers`, each as soon as it is there."""
    async with AsyncTcpClient(HOST, server.port, PATIENCE, PATIENCE) as client:
        for event in events:
            await client.write_event(event)
        while (answer := await client.read_event()) is not None:
            yield answer
            if answer.type in (last, "error"):
                return


def text_of(events: Sequence[Event]) -> str:
    """The transcript among these events."""
    (transcript,) = (event for event in events if event.type == "transcript")
    return str(transcript.data["text"])
