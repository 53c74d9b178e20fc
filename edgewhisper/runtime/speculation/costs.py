"""What steps cost on this device, measured at first use and remembered."""

import itertools
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgewhisper.artifact import DRAFT_ENCODER, Manifest

from ..contention import timed
from ..decoder import Decoder
from ..encoder import CrossKV, Encoder
from ..exactness import device_key, random_cross_kv
from ..heads import Heads
from ..session import SessionSettings, memory_device
from ..state import DeviceState
from .controller import MOST_PROPOSED, StepCosts

_SECTION = "step_costs"
_ROUNDS = 9
_COUNTS = (1, 2, 3, 5, MOST_PROPOSED + 1)  # rows of the steps that are timed; those between lie between
_DRAFTED = 3  # tokens in a row
_ENCODINGS = 3
_TRIES = 3
"""Measurements that others disturbed, until one is believed: on a device that is always busy, steps cost what they cost then."""
_SEED = 1


def step_costs(
    decoder: Decoder,
    draft: Decoder | Heads | None,
    manifest: Manifest,
    settings: SessionSettings,
    state: DeviceState,
    encoder: Encoder | None = None,
) -> StepCosts:
    """Measure, or remember, times of steps of 1 to 9 rows and of one drafted token.

    Args:
        decoder: loaded; its sequence is lost.
        draft: likewise; None of what only looks up.
        manifest: of the artifact that they come from.
        settings: what they run with.
        state: remembers the answer for this processor, ONNX Runtime and graphs; one that others disturbed is measured again a few times.
        encoder: the draft's own.
    """
    key = device_key(manifest, settings, "decoder", *(["draft"] if draft is not None else []))
    known = state.get(_SECTION, key)
    tries = 0
    if isinstance(known, list) and len(known) == MOST_PROPOSED + 6 and all(_is_ratio(x) for x in known):
        tries = int(known[-1])
        if not 0 < tries < _TRIES:
            return StepCosts(tuple(known[:-5]), *known[-5:-1])
    source, device = random.Random(_SEED), memory_device(settings)
    cross = own = random_cross_kv(manifest, source, device)
    if encoder is not None:
        own = random_cross_kv(manifest, source, device, DRAFT_ENCODER)
    with timed() as timing:
        costs = _measure(decoder, draft, cross, own)
        if encoder is not None:
            costs = replace(costs, window=_encoding(encoder, manifest) / costs.seconds)
    decoder.release()
    if draft is not None:
        draft.release()
    ratios = (*costs.rows, costs.first, costs.further, costs.window)
    disturbed = 0.0 if timing.counts else tries + 1.0
    state.put(_SECTION, {key: [*(round(x, 6) for x in ratios), round(costs.seconds, 9), disturbed]})
    return costs


def _is_ratio(value: object) -> bool:
    return isinstance(value, float) and 0 <= value < 1e6


def _encoding(encoder: Encoder, manifest: Manifest) -> float:
    """Seconds that a draft's encoder takes for a window."""
    window = np.zeros((manifest.audio.n_mels, manifest.audio.n_frames), np.float32)
    return min(_seconds(lambda: encoder.run(window)) for _ in range(_ENCODINGS))


def _measure(decoder: Decoder, draft: Decoder | Heads | None, cross: CrossKV, own: CrossKV) -> StepCosts:
    """`own` is what the draft reads."""
    steps = [_step(decoder, cross, count) for count in _COUNTS]
    draft_step = _draft_step(draft, own)
    rows: list[list[float]] = [[] for _ in steps]
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
    between = np.interp(range(1, MOST_PROPOSED + 2), _COUNTS, steps_taken)
    ratios = tuple(float(x) / greedy for x in between)
    return StepCosts(ratios, _undisturbed(first) / greedy, _undisturbed(further) / greedy, seconds=greedy)


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
