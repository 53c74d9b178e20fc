"""Encoder time and time per token of several engines, interleaved on the same weights."""

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgewhisper.errors import EdgeWhisperError

from .contention import Timing

# Between these tokens nothing but steps happens: encoding, prompt and the first, colder steps drop out.
FIRST, LAST = 30, 200
# A measurement that others disturbed is repeated this often, then taken as it is and marked.
ATTEMPTS = 5


@dataclass
class Figures:
    """What was measured of one engine."""

    encode: list[Timing] = field(default_factory=list)
    token: list[float] = field(default_factory=list)  # seconds per token between FIRST and LAST
    peak: int = 0  # bytes
    disturbed: int = 0  # measurements kept although others took more than the tolerated share
    failure: str | None = None  # why there are no figures

    @property
    def encode_ms(self) -> float:
        """Median, in milliseconds."""
        return 1e3 * statistics.median(timing.seconds for timing in self.encode)

    @property
    def token_ms(self) -> float:
        """Median, in milliseconds."""
        return 1e3 * statistics.median(self.token)


class Worker:
    """An engine in a process of its own."""

    def __init__(self, python: str, arguments: Sequence[str]) -> None:
        """Start it and wait until it is ready.

        Raises:
            EdgeWhisperError: it failed; the message is the last line it wrote.
        """
        self._process = subprocess.Popen(
            [python, "-m", "edgewhisper.bench.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._receive()

    def ask(self, **command: object) -> tuple[Timing, int]:
        """One measurement: its timing and the process's peak memory so far in bytes."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._receive()
        return Timing(answer["seconds"], answer["waited"], answer["stolen"]), answer["peak"]

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        _, written = self._process.communicate()
        raise EdgeWhisperError((written.strip().splitlines() or ["ended without a word"])[-1])


def compare(workers: dict[str, Worker], rounds: int) -> dict[str, Figures]:
    """Measure all engines in turn, `rounds` times after one warm-up."""
    figures = {name: Figures() for name in workers}
    for round_number in tqdm(range(rounds + 1), desc="rounds", file=sys.stderr, disable=None):
        for name, worker in workers.items():
            result = figures[name]
            if result.failure is not None:
                continue
            try:
                encode = _undisturbed(worker, result, stage="encode")
                short = _undisturbed(worker, result, stage="decode", tokens=FIRST)
                long = _undisturbed(worker, result, stage="decode", tokens=LAST)
            except EdgeWhisperError as error:
                result.failure = str(error)
                continue
            if round_number == 0:
                result.disturbed = 0
                continue
            result.encode.append(encode)
            result.token.append((long.seconds - short.seconds) / (LAST - FIRST))
    return figures


def _undisturbed(worker: Worker, figures: Figures, **command: object) -> Timing:
    for _ in range(ATTEMPTS):
        timing, figures.peak = worker.ask(**command)
        if timing.counts:
            return timing
    figures.disturbed += 1
    return timing


def start_workers(
    names: Sequence[str],
    python: dict[str, str],
    checkpoint: Path,
    work: Path,
    threads: int,
    n_mels: int,
    frames: int,
) -> tuple[dict[str, Worker], dict[str, Figures]]:
    """Start every engine; those that fail are returned with the reason."""
    workers, failed = {}, {}
    for name in names:
        converted = subprocess.run(
            [python[name], "-m", "edgewhisper.bench.worker", "convert", name, str(checkpoint), str(work)],
            capture_output=True,
            text=True,
            check=False,
        )
        if converted.returncode != 0:
            failed[name] = Figures(
                failure=(converted.stderr.strip().splitlines() or ["conversion failed"])[-1]
            )
            continue
        arguments = [name, str(checkpoint), str(work), str(threads), str(n_mels), str(frames)]
        try:
            workers[name] = Worker(python[name], arguments)
        except EdgeWhisperError as error:
            failed[name] = Figures(failure=str(error))
    return workers, failed
