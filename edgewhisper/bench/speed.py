"""Encoder time and time per token of several engines, interleaved on the same weights."""

import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from tqdm import tqdm

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.contention import Timing

from .run import Spread
from .workers import Worker

# Between these tokens nothing but steps happens: encoding, prompt and the first, colder steps drop out. A window has LAST.
FIRST, LAST = 20, 100
# Tokens at once whose steps are timed.
AT_ONCE = (1, 2, 4, 8)
# A measurement that others disturbed is repeated this often, then the least disturbed one is taken and marked.
ATTEMPTS = 5
# Idle threads of the engine before spin for some time.
PAUSE = 0.2  # seconds


@dataclass
class Timings:
    """One stage of one engine, a timing a round.

    Attributes:
        kept: those that count, or the least disturbed.
        disturbed: of them, those that do not count.
    """

    kept: list[Timing] = field(default_factory=list)
    disturbed: int = 0

    def spread_ms(self) -> Spread | None:
        """In milliseconds; None where there is none."""
        if not self.kept:
            return None
        return Spread.of([1e3 * timing.seconds for timing in self.kept], self.disturbed)


@dataclass
class Speed:
    """What was measured of one engine."""

    encode: Timings = field(default_factory=Timings)
    first_step: Timings = field(default_factory=Timings)  # empty where encoding computes cross-K/V
    first_token: Timings = field(default_factory=Timings)  # with the encoder
    short: Timings = field(default_factory=Timings)  # FIRST tokens
    long: Timings = field(default_factory=Timings)  # LAST tokens
    steps: dict[int, Timings] = field(
        default_factory=dict
    )  # tokens at once; empty where there are no such steps

    def token_ms(self) -> Spread:
        """Milliseconds per token between FIRST and LAST."""
        pairs = zip(self.short.kept, self.long.kept, strict=True)
        times = [1e3 * (long.seconds - short.seconds) / (LAST - FIRST) for short, long in pairs]
        return Spread.of(times, max(self.short.disturbed, self.long.disturbed))

    def encoder_ms(self) -> Spread:
        """Milliseconds of encoding, with the cross-attention keys and values.

        Where the first decoder step computes them, they are what it takes longer than a later one.
        """
        cross = 0.0
        if first := self.first_step.spread_ms():
            cross = max(0.0, first.median - self.token_ms().median)
        times = [1e3 * timing.seconds + cross for timing in self.encode.kept]
        return Spread.of(times, self.encode.disturbed)

    def window_ms(self) -> Spread:
        """Milliseconds of a window with LAST tokens: encoder and decoder."""
        pairs = zip(self.encode.kept, self.long.kept, strict=True)
        times = [1e3 * (encode.seconds + long.seconds) for encode, long in pairs]
        return Spread.of(times, max(self.encode.disturbed, self.long.disturbed))

    def cpu(self) -> float:
        """Processor time over wall time while decoding, median."""
        return statistics.median(timing.cpu for timing in self.long.kept)


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
    stages: list[tuple[Timings, dict[str, object]]] = [
        (speed.first_token, {"stage": "first token"}),
        (speed.encode, {"stage": "encode"}),
        (speed.first_step, {"stage": "first step"}),
        (speed.short, {"stage": "decode", "tokens": FIRST}),
        (speed.long, {"stage": "decode", "tokens": LAST}),
    ]
    stages += [
        (speed.steps.setdefault(count, Timings()), {"stage": "step", "tokens": count}) for count in AT_ONCE
    ]
    for timings, command in stages:
        _time(worker, timings, command)


def _time(worker: Worker, timings: Timings, command: Mapping[str, object]) -> None:
    """The first timing that counts, else the least disturbed of all attempts."""
    attempts: list[Timing] = []
    while len(attempts) < ATTEMPTS:
        time.sleep(PAUSE)
        timing = worker.ask(**command)
        if timing is None:
            return
        attempts.append(timing)
        if timing.counts:
            break
    best = min(attempts, key=lambda timing: timing.disturbance)
    timings.kept.append(best)
    timings.disturbed += not best.counts


def spreads(steps: Mapping[int, Timings]) -> dict[str, Spread]:
    """Tokens at once -> milliseconds of the step, as a run states them."""
    found = {str(count): timings.spread_ms() for count, timings in steps.items()}
    return {count: spread for count, spread in found.items() if spread is not None}
