"""What steps cost on this device, measured at first use and remembered."""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence

from edgewhisper.artifact import Manifest

from ..contention import timed
from ..decoder import Decoder
from ..encoder import CrossKV
from ..exactness import device_key, random_cross_kv
from ..heads import Heads
from ..session import SessionSettings, memory_device
from ..state import DeviceState
from .controller import MOST_PROPOSED, StepCosts

_SECTION = "step_costs"
_ROUNDS = 9
_DRAFTED = 3  # tokens in a row
_SEED = 1


def step_costs(
    decoder: Decoder,
    draft: Decoder | Heads | None,
    manifest: Manifest,
    settings: SessionSettings,
    state: DeviceState,
) -> StepCosts:
    """Measure, or remember, times of steps of 1 to 9 rows and of one drafted token.

    Args:
        decoder: loaded; its sequence is lost.
        draft: likewise; None of what only looks up.
        manifest: of the artifact that they come from.
        settings: what they run with.
        state: remembers the answer for this processor, ONNX Runtime and graphs, unless others disturbed the measurement.
    """
    key = device_key(manifest, settings, "decoder", *(["draft"] if draft is not None else []))
    known = state.get(_SECTION, key)
    if isinstance(known, list) and len(known) == MOST_PROPOSED + 4 and all(_is_ratio(x) for x in known):
        return StepCosts(tuple(known[:-3]), *known[-3:])
    cross = random_cross_kv(manifest, random.Random(_SEED), memory_device(settings))
    with timed() as timing:
        costs = _measure(decoder, draft, cross)
    decoder.release()
    if draft is not None:
        draft.release()
    if timing.counts:
        ratios = (*costs.rows, costs.first, costs.further)
        rounded = [*(round(x, 6) for x in ratios), round(costs.seconds, 9)]
        state.put(_SECTION, {key: rounded})
    return costs


def _is_ratio(value: object) -> bool:
    return isinstance(value, float) and 0 <= value < 1e6


def _measure(decoder: Decoder, draft: Decoder | Heads | None, cross: CrossKV) -> StepCosts:
    counts = range(1, MOST_PROPOSED + 2)
    steps = [_step(decoder, cross, count) for count in counts]
    draft_step = _draft_step(draft, cross)
    rows: list[list[float]] = [[] for _ in counts]
    first: list[float] = []
    further: list[float] = []
    for turn in range(_ROUNDS + 1):
        for step, times in zip(steps, rows, strict=True):
            times.append(_seconds(step))
            first.append(_seconds(draft_step))
            further += [_seconds(draft_step) for _ in range(_DRAFTED - 1)]
        if not turn:  # the first time, bindings are made
            for times in (*rows, first, further):
                times.clear()
    # What disturbs a step only makes it longer; more rows are never cheaper.
    steps_taken = list(itertools.accumulate(map(_undisturbed, rows), max))
    greedy = steps_taken[0]
    ratios = tuple(x / greedy for x in steps_taken)
    return StepCosts(ratios, _undisturbed(first) / greedy, _undisturbed(further) / greedy, greedy)


def _undisturbed(times: Sequence[float]) -> float:
    """The lower quartile."""
    return statistics.quantiles(times, n=4)[0]


def _seconds(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def _step(decoder: Decoder, cross: CrossKV, count: int) -> Callable[[], object]:
    """A step of `count` tokens in the middle of the cache."""
    past = decoder.max_length // 4
    decoder.reset(cross)
    decoder.run(range(past), past - 1)

    def run() -> object:
        decoder.rollback(past)
        return decoder.run(range(count))

    return run


def _draft_step(draft: Decoder | Heads | None, cross: CrossKV) -> Callable[[], object]:
    if draft is None:
        return lambda: None
    if isinstance(draft, Decoder):
        return _step(draft, cross, 1)
    draft.reset(cross)
    return lambda: draft.run(0)
