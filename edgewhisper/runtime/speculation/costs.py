"""What steps cost on this device, measured at first use and remembered."""

import random
import statistics
import time
from collections.abc import Callable

from edgewhisper.artifact import Manifest

from ..contention import timed
from ..decoder import Decoder
from ..encoder import CrossKV
from ..exactness import device_key, random_cross_kv
from ..session import SessionSettings, memory_device
from ..state import DeviceState
from .controller import MOST_PROPOSED, StepCosts

_SECTION = "step_costs"
_ROUNDS = 5
_SEED = 1


def step_costs(
    decoder: Decoder, draft: Decoder, manifest: Manifest, settings: SessionSettings, state: DeviceState
) -> StepCosts:
    """Measure, or remember, times of steps of 1 to 9 rows and of one drafted token.

    Args:
        decoder: loaded; its sequence is lost.
        draft: likewise.
        manifest: of the artifact that they come from.
        settings: what they run with.
        state: remembers the answer for this processor, ONNX Runtime and graphs, unless others disturbed the measurement.
    """
    key = device_key(manifest, settings, "decoder", "draft")
    known = state.get(_SECTION, key)
    if isinstance(known, list) and len(known) == MOST_PROPOSED + 3 and all(_is_positive(x) for x in known):
        return StepCosts(tuple(known[:-2]), *known[-2:])
    cross = random_cross_kv(manifest, random.Random(_SEED), memory_device(settings))
    with timed() as timing:
        costs = _measure(decoder, draft, cross)
    decoder.release()
    draft.release()
    if timing.counts:
        rounded = [*(round(x, 4) for x in (*costs.rows, costs.draft)), round(costs.seconds, 7)]
        state.put(_SECTION, {key: rounded})
    return costs


def _is_positive(value: object) -> bool:
    return isinstance(value, float) and 0 < value < 1e6


def _measure(decoder: Decoder, draft: Decoder, cross: CrossKV) -> StepCosts:
    rows = range(1, MOST_PROPOSED + 2)
    steps = [_step(decoder, cross, count) for count in rows] + [_step(draft, cross, 1)]
    times: list[list[float]] = [[] for _ in steps]
    for turn in range(_ROUNDS + 1):
        for step, found in zip(steps, times, strict=True):
            started = time.perf_counter()
            step()
            if turn:  # the first time, bindings are made
                found.append(time.perf_counter() - started)
    medians = [statistics.median(found) for found in times]
    # More rows are never cheaper; where they seem to be, the device was disturbed.
    for index in range(1, len(rows)):
        medians[index] = max(medians[index], medians[index - 1])
    greedy = medians[0]
    return StepCosts(tuple(x / greedy for x in medians[:-1]), medians[-1] / greedy, greedy)


def _step(decoder: Decoder, cross: CrossKV, count: int) -> Callable[[], object]:
    """A step of `count` tokens in the middle of the cache."""
    past = decoder.max_length // 4
    decoder.reset(cross)
    decoder.run(range(past), past - 1)

    def run() -> object:
        decoder.rollback(past)
        return decoder.run(range(count))

    return run
