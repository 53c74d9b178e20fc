"""Encoder time and time per token of several engines, interleaved on the same weights."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.contention import Timing

from .progress import Tell, silent
from .run import Spread
from .workers import Worker

# Between these tokens nothing but steps happens: encoding, prompt and the first, colder steps drop out. A window has LAST.
FIRST, LAST = 20, 100
# Tokens at once whose steps are timed.
AT_ONCE = (1, 2, 4, 8)
# A measurement that others disturbed is repeated this often, then the least disturbed one is taken and marked.
ATTEMPTS = 3
# Idle threads of the engine before spin for some time.
PAUSE = 0.2  # seconds
# Rounds that time the first token and the steps too; the others have the more time for what engines are compared by.
DETAILED = 3


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
        return Spread.of(self._tokens(), max(self.short.disturbed, self.long.disturbed))

    def encoder_ms(self) -> Spread:
        """Milliseconds of encoding, with the cross-attention keys and values.

        Where the first decoder step computes them, they are what it takes longer than a later one.
        """
        return Spread.of(self._encodings(), self.encode.disturbed)

    def window_ms(self) -> Spread:
        """Milliseconds of a window with LAST tokens: encoder and decoder."""
        return Spread.of(self._windows(), max(self.encode.disturbed, self.long.disturbed))

    def ratios(self, first: "Speed") -> dict[str, Spread]:
        """Encoder, token and window over another engine's, round by round.

        The other one is measured before this one, and after it, in the next round; the mean of both stands for what it takes meanwhile.
        """
        pairs = {
            "encoder": (self._encodings(), first._encodings()),
            "token": (self._tokens(), first._tokens()),
            "window": (self._windows(), first._windows()),
        }
        return {
            name: Spread.of(
                [
                    mine / (before + after) * 2
                    for mine, before, after in zip(own, other, [*other[1:], other[-1]], strict=True)
                ]
            )
            for name, (own, other) in pairs.items()
            if other and min(other) > 0
        }

    def _encodings(self) -> list[float]:
        cross = 0.0
        if first := self.first_step.spread_ms():
            cross = max(0.0, first.median - statistics.median(self._tokens()))
        return [1e3 * timing.seconds + cross for timing in self.encode.kept]

    def _tokens(self) -> list[float]:
        pairs = zip(self.short.kept, self.long.kept, strict=True)
        return [1e3 * (long.seconds - short.seconds) / (LAST - FIRST) for short, long in pairs]

    def _windows(self) -> list[float]:
        pairs = zip(self.encode.kept, self.long.kept, strict=True)
        return [1e3 * (encode.seconds + long.seconds) for encode, long in pairs]

    def cpu(self) -> float:
        """Processor time over wall time while decoding, median."""
        return statistics.median(timing.cpu for timing in self.long.kept)


def compare(
    workers: Mapping[str, Worker],
    rounds: int,
    seconds: float = 0.0,
    tell: Tell = silent,
    kept: Callable[[Mapping[str, Speed]], None] = lambda speeds: None,
) -> tuple[dict[str, Speed], dict[str, str]]:
    """Measure all engines in turn, round after round, after a warm-up.

    Args:
        workers: the engines.
        rounds: as many at least.
        seconds: for which rounds go on, as long as another one like the last fits.
        tell: what is measured.
        kept: gets what was measured so far after each round.

    Returns:
        What was measured, and of engines that failed the reason.
    """
    speeds = {name: Speed() for name in workers}
    failed: dict[str, str] = {}

    def measure(names: list[str], when: str, *, warm: bool = False, detailed: bool = False) -> None:
        for name in names:
            tell(f"{when}: {name}")
            time.sleep(PAUSE)
            try:
                if warm:
                    _warm_up(workers[name])
                else:
                    _measure(workers[name], speeds[name], detailed=detailed)
            except EdgeWhisperError as error:
                failed[name] = str(error)
                del speeds[name]

    measure([*speeds], "warm-up", warm=True)
    number, last, started = 0, 0.0, time.monotonic()
    while speeds and (number < rounds or time.monotonic() - started + last <= seconds):
        begun = time.monotonic()
        number += 1
        when = f"round {number} of {rounds}"
        if seconds:
            when = f"round {number}, {begun - started:.0f} of {seconds:.0f} s"
        measure([*speeds], when, detailed=number <= DETAILED)
        last = time.monotonic() - begun
        kept(speeds)
    return speeds, failed


def _warm_up(worker: Worker) -> None:
    """Whatever others do."""
    worker.ask(stage="encode")
    worker.ask(stage="decode", tokens=LAST)


def _measure(worker: Worker, speed: Speed, *, detailed: bool) -> None:
    _time(worker, speed.encode, {"stage": "encode"})
    if detailed:
        _time(worker, speed.first_step, {"stage": "first step"})
    _time(worker, speed.short, {"stage": "decode", "tokens": FIRST})
    _time(worker, speed.long, {"stage": "decode", "tokens": LAST})
    if detailed:
        _time(worker, speed.first_token, {"stage": "first token"})
        for count in AT_ONCE:
            timings = speed.steps.setdefault(count, Timings())
            _time(worker, timings, {"stage": "step", "tokens": count})


def _time(worker: Worker, timings: Timings, command: Mapping[str, object]) -> None:
    """The first timing that counts, else the least disturbed of all attempts."""
    attempts: list[Timing] = []
    while len(attempts) < ATTEMPTS:
        if attempts:
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
