"""The comparison of engines: what counts, what is repeated, and how figures follow from timings."""

import time
from typing import cast

import pytest

from edgewhisper.bench import speed as speed_module
from edgewhisper.bench.speed import AT_ONCE, ATTEMPTS, FIRST, LAST, Speed, Timings, compare, spreads
from edgewhisper.bench.workers import Worker
from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.contention import Timing, timed

QUIET, BUSY = Timing(1.0, waited=0.01), Timing(9.0, waited=0.2)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_module, "PAUSE", 0.0)


class ScriptedWorker:
    """Encodes with given timings, in turn; a token takes 0.01 s, and there are no other stages."""

    def __init__(self, encode: list[Timing], first_step: float | None = None) -> None:
        self._encode = encode
        self._first_step = first_step
        self.fails = False

    def ask(self, **command: object) -> Timing | None:
        if self.fails:
            raise EdgeWhisperError("gone")
        if command["stage"] == "encode":
            return self._encode.pop(0)
        if command["stage"] == "decode":
            return Timing(0.3 + 0.01 * cast(int, command["tokens"]), cpu=1.5)
        if command["stage"] == "first step" and self._first_step is not None:
            return Timing(self._first_step)
        return None


def run(worker: ScriptedWorker, rounds: int, seconds: float = 0.0) -> Speed:
    speeds, failed = compare({"engine": cast(Worker, worker)}, rounds, seconds)
    assert failed == {}
    return speeds["engine"]


def test_waiting_and_steal_together_decide_whether_a_timing_counts() -> None:
    assert Timing(1.0, waited=0.02, stolen=0.03).counts
    assert not Timing(1.0, waited=0.03, stolen=0.03).counts


def test_a_block_is_timed() -> None:
    with timed() as timing:
        time.sleep(0.05)
    assert 0.05 <= timing.seconds < 5
    assert timing.waited >= 0
    assert timing.stolen >= 0


def test_a_sleeping_block_uses_no_processor_and_a_counting_one_does() -> None:
    with timed() as sleeping:
        time.sleep(0.2)
    with timed() as counting:
        sum(range(3_000_000))
    assert sleeping.cpu < 0.1
    assert sleeping.cpu < counting.cpu <= 1.1


def test_the_warm_up_does_not_count_and_the_prompt_drops_out() -> None:
    speed = run(ScriptedWorker([Timing(100.0), Timing(1.0), Timing(2.0), Timing(9.0)]), 3)
    encoder, token = speed.encoder_ms(), speed.token_ms()
    assert (encoder.median, encoder.low, encoder.high, encoder.count) == pytest.approx((2000, 1000, 9000, 3))
    assert token.median == pytest.approx(10)
    assert encoder.disturbed == token.disturbed == 0
    assert speed.cpu() == 1.5


def test_a_window_is_encoder_and_decoder_together() -> None:
    speed = run(ScriptedWorker([Timing(100.0), Timing(1.0), Timing(2.0), Timing(9.0)]), 3)
    decoder = 300 + 10 * LAST
    assert speed.window_ms().median == pytest.approx(2000 + decoder)
    assert speed.window_ms().high == pytest.approx(9000 + decoder)


def test_what_the_first_step_takes_longer_belongs_to_the_encoder() -> None:
    speed = run(ScriptedWorker([QUIET, QUIET], first_step=0.025), 1)
    assert speed.encoder_ms().median == pytest.approx(1000 + 25 - 10)


def test_a_first_step_faster_than_the_others_takes_nothing_from_the_encoder() -> None:
    assert run(ScriptedWorker([QUIET, QUIET], first_step=0.001), 1).encoder_ms().median == pytest.approx(1000)


def test_a_disturbed_timing_is_repeated() -> None:
    encoder = run(ScriptedWorker([QUIET, BUSY, BUSY, QUIET]), 1).encoder_ms()
    assert (encoder.median, encoder.disturbed) == (1000, 0)


def test_of_disturbed_timings_alone_the_least_disturbed_is_kept_and_counted() -> None:
    least = Timing(5.0, waited=0.1)
    encoder = run(ScriptedWorker([QUIET, BUSY, least, *[BUSY] * (ATTEMPTS - 2)]), 1).encoder_ms()
    assert (encoder.median, encoder.disturbed) == (5000, 1)


def test_a_disturbed_warm_up_is_not_counted() -> None:
    assert run(ScriptedWorker([BUSY, QUIET]), 1).encoder_ms().disturbed == 0


def test_an_engine_that_ends_is_named_and_the_others_go_on() -> None:
    ended, going = ScriptedWorker([]), ScriptedWorker([QUIET, QUIET])
    ended.fails = True
    workers = {"ended": cast(Worker, ended), "going": cast(Worker, going)}
    speeds, failed = compare(workers, 1)
    assert failed == {"ended": "gone"}
    assert list(speeds) == ["going"]


def test_stages_that_an_engine_lacks_are_left_out() -> None:
    speed = run(ScriptedWorker([QUIET, QUIET]), 1)
    assert speed.first_token.spread_ms() is None
    assert spreads(speed.steps) == {}
    steps = {count: Timings([Timing(0.001 * count)]) for count in AT_ONCE}
    assert {count: spread.median for count, spread in spreads(steps).items()} == {
        str(count): pytest.approx(count) for count in AT_ONCE
    }
    assert 1 <= FIRST < LAST


def test_ratios_are_to_the_times_before_and_after() -> None:
    """The machine becomes slower; both engines do alike."""
    first, other = Speed(), Speed()
    for slowness in (1.0, 2.0, 4.0):
        for speed, share in ((first, 1.0), (other, 1.5)):
            seconds = slowness * share
            speed.encode.kept.append(Timing(seconds))
            speed.short.kept.append(Timing(seconds))
            speed.long.kept.append(Timing(3 * seconds))
    ratios = other.ratios(first)
    assert {name: (x.low, x.median, x.high, x.count) for name, x in ratios.items()} == {
        name: pytest.approx((1.0, 1.0, 1.5, 3)) for name in ("encoder", "token", "window")
    }


def test_engines_take_turns_and_what_was_measured_is_given_after_each_round() -> None:
    order: list[str] = []
    given: list[dict[str, int]] = []
    workers = {name: cast(Worker, ScriptedWorker([QUIET] * 9)) for name in ("a", "b")}
    compare(
        workers, 2, 0.0, order.append,
        lambda speeds: given.append({name: len(speed.encode.kept) for name, speed in speeds.items()}),
    )  # fmt: skip
    assert order == [
        *("warm-up: a", "warm-up: b"),
        *("round 1 of 2: a", "round 1 of 2: b"),
        *("round 2 of 2: a", "round 2 of 2: b"),
    ]
    assert given == [{"a": 1, "b": 1}, {"a": 2, "b": 2}]


def test_rounds_go_on_while_another_one_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    class Slow(ScriptedWorker):
        def ask(self, **command: object) -> Timing | None:
            nonlocal now
            now += 1.0
            return super().ask(**command)

    monkeypatch.setattr("edgewhisper.bench.speed.time.monotonic", lambda: now)
    detailed, plain = 9.0, 3.0
    for seconds, rounds in (
        (0.0, 2),
        (4 * detailed - 1, 3),
        (4 * detailed, 6),
        (3 * detailed + 4 * plain, 7),
    ):
        now = 0.0
        assert run(Slow([QUIET] * 9), 2, seconds).encoder_ms().count == rounds
