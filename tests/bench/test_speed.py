"""The comparison of engines: what counts, what is repeated, and what a failure looks like."""

import sys
import time
from pathlib import Path
from typing import cast

import pytest

from edgewhisper.bench.__main__ import FRAMES, MEL_BINS, prepare
from edgewhisper.bench.contention import Timing, timed
from edgewhisper.bench.speed import ATTEMPTS, FIRST, LAST, Worker, compare, start_workers
from edgewhisper.errors import EdgeWhisperError

QUIET, BUSY = Timing(1.0, waited=0.01), Timing(9.0, waited=0.2)


class ScriptedWorker:
    """Answers with given timings, in turn; a token takes 0.01 s."""

    def __init__(self, encode: list[Timing]) -> None:
        self._encode = encode
        self.asked: list[dict[str, object]] = []

    def ask(self, **command: object) -> tuple[Timing, int]:
        self.asked.append(command)
        if command["stage"] == "encode":
            return self._encode.pop(0), 5_000_000
        return Timing(0.3 + 0.01 * cast(int, command["tokens"])), 5_000_000


def run(worker: ScriptedWorker, rounds: int) -> tuple[float, float, int]:
    figures = compare({"engine": cast(Worker, worker)}, rounds)["engine"]
    return figures.encode_ms, figures.token_ms, figures.disturbed


def test_waiting_and_steal_together_decide_whether_a_timing_counts() -> None:
    assert Timing(1.0, waited=0.02, stolen=0.03).counts
    assert not Timing(1.0, waited=0.03, stolen=0.03).counts


def test_a_block_is_timed() -> None:
    with timed() as timing:
        time.sleep(0.05)
    assert 0.05 <= timing.seconds < 5
    assert timing.waited >= 0
    assert timing.stolen >= 0


def test_the_warm_up_does_not_count_and_the_prompt_drops_out() -> None:
    encode_ms, token_ms, disturbed = run(
        ScriptedWorker([Timing(100.0), Timing(1.0), Timing(2.0), Timing(9.0)]), 3
    )
    assert encode_ms == pytest.approx(2000)
    assert token_ms == pytest.approx(10)
    assert disturbed == 0


def test_a_disturbed_timing_is_repeated_then_kept_and_counted() -> None:
    assert run(ScriptedWorker([QUIET, BUSY, BUSY, QUIET]), 1)[::2] == (1000, 0)
    assert run(ScriptedWorker([QUIET, *[BUSY] * ATTEMPTS]), 1)[::2] == (9000, 1)


def test_an_engine_that_does_not_start_is_reported_with_its_last_line() -> None:
    with pytest.raises(EdgeWhisperError, match="KeyError: 'no such engine'"):
        Worker(sys.executable, ["no such engine", ".", ".", "1", "80", "3000"])


@pytest.mark.slow
def test_this_engine_is_measured_on_a_random_checkpoint(tmp_path: Path) -> None:
    prepare("tiny.en", tmp_path)
    arguments = (tmp_path / "checkpoint", tmp_path, 1, MEL_BINS, FRAMES)
    workers, failed = start_workers(["edgewhisper"], {"edgewhisper": sys.executable}, *arguments)
    assert failed == {}
    worker = workers["edgewhisper"]
    encode, _ = worker.ask(stage="encode")
    short, _ = worker.ask(stage="decode", tokens=FIRST)
    long, peak = worker.ask(stage="decode", tokens=LAST)
    worker.close()
    assert encode.seconds > 0
    assert long.seconds > short.seconds > 0
    assert peak > 100e6
