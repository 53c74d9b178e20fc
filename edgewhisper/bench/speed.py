"""Encoder time and time per token of several engines, interleaved on the same weights."""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tqdm import tqdm

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.contention import Timing

from .workers import Worker

# Between these tokens nothing but steps happens: encoding, prompt and the first, colder steps drop out.
FIRST, LAST = 30, 200
# Of tokens that are verified at once, compared with one.
SEVERAL = 8
# A measurement that others disturbed is repeated this often, then the least disturbed one is taken and marked.
ATTEMPTS = 5
# Idle threads of the engine before spin for some time.
PAUSE = 0.2  # seconds


@dataclass
class Speed:
    """What was measured of one engine, a timing a round."""

    encode: list[Timing] = field(default_factory=list)
    first_step: list[Timing] = field(default_factory=list)  # empty where encoding computes cross-K/V
    short: list[Timing] = field(default_factory=list)  # FIRST tokens
    long: list[Timing] = field(default_factory=list)  # LAST tokens
    one: list[Timing] = field(
        default_factory=list
    )  # a step of one token; empty where there are no such steps
    several: list[Timing] = field(default_factory=list)  # a step of SEVERAL tokens
    disturbed: int = 0  # measurements kept although others took more than the tolerated share

    @property
    def encoder_ms(self) -> float:
        """Median milliseconds of encoding, with the cross-attention keys and values.

        Where the first decoder step computes them, they are what it takes longer than a later one.
        """
        cross = max(0.0, _median_ms(self.first_step) - self.token_ms) if self.first_step else 0.0
        return _median_ms(self.encode) + cross

    @property
    def token_ms(self) -> float:
        """Median milliseconds per token between FIRST and LAST."""
        pairs = zip(self.short, self.long, strict=True)
        return 1e3 * statistics.median(
            (long.seconds - short.seconds) / (LAST - FIRST) for short, long in pairs
        )

    @property
    def several_ratio(self) -> float | None:
        """Time of a step of SEVERAL tokens over that of a step of one."""
        return _median_ms(self.several) / _median_ms(self.one) if self.several else None

    @property
    def encoder_cpu(self) -> float:
        """Processor time over wall time while encoding, median."""
        return statistics.median(timing.cpu for timing in self.encode)

    @property
    def token_cpu(self) -> float:
        """Processor time over wall time while decoding, median."""
        return statistics.median(timing.cpu for timing in self.long)


def compare(workers: Mapping[str, Worker], rounds: int) -> tuple[dict[str, Speed], dict[str, str]]:
    """Measure all engines in turn, `rounds` times after one warm-up; those that fail are returned with the reason."""
    speeds = {name: Speed() for name in workers}
    failed: dict[str, str] = {}
    for round_number in tqdm(range(rounds + 1), desc="rounds", file=sys.stderr, disable=None):
        for name in [*speeds]:
            try:
                _measure(workers[name], Speed() if round_number == 0 else speeds[name])
            except EdgeWhisperError as error:
                failed[name] = str(error)
                del speeds[name]
    return speeds, failed


def _measure(worker: Worker, speed: Speed) -> None:
    stages: Sequence[tuple[list[Timing], dict[str, object]]] = (
        (speed.encode, {"stage": "encode"}),
        (speed.first_step, {"stage": "first step"}),
        (speed.short, {"stage": "decode", "tokens": FIRST}),
        (speed.long, {"stage": "decode", "tokens": LAST}),
        (speed.one, {"stage": "step", "tokens": 1}),
        (speed.several, {"stage": "step", "tokens": SEVERAL}),
    )
    for timings, command in stages:
        timing = _undisturbed(worker, speed, command)
        if timing is not None:
            timings.append(timing)


def _undisturbed(worker: Worker, speed: Speed, command: Mapping[str, object]) -> Timing | None:
    """The first timing that counts, else the least disturbed of all attempts."""
    timings: list[Timing] = []
    for _ in range(ATTEMPTS):
        time.sleep(PAUSE)
        timing = worker.ask(**command)
        if timing is None or timing.counts:
            return timing
        timings.append(timing)
    speed.disturbed += 1
    return min(timings, key=lambda timing: timing.disturbance)


def _median_ms(timings: Sequence[Timing]) -> float:
    return 1e3 * statistics.median(timing.seconds for timing in timings)
