"""Recordings of several lengths, from file to text, by this project's transcriber."""

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.contention import Timing

from .progress import Tell, silent
from .run import Clip
from .speed import ATTEMPTS, LAST, PAUSE
from .workers import Worker

_WINDOW = 30.0
_SAMPLE_RATE, _LOUDNESS = 16_000, 0.05
_LONG = 60.0
"""Seconds from which a recording is transcribed once for every three rounds."""


def write_clip(folder: Path, seconds: float) -> Path:
    """A recording of noise of that length."""
    path = folder / f"noise-{seconds:g}s.wav"
    if not path.exists():
        noise = np.random.default_rng(0).standard_normal(round(seconds * _SAMPLE_RATE)) * _LOUDNESS
        soundfile.write(path, noise.astype(np.float32), _SAMPLE_RATE, subtype="PCM_16")
    return path


def tokens_of(seconds: float) -> int:
    """As many for each second as a window has, as far as a window goes."""
    return max(1, math.ceil(LAST * min(seconds, _WINDOW) / _WINDOW))


def time_clips(
    workers: Mapping[str, Worker],
    folder: Path,
    lengths: Sequence[float],
    rounds: int,
    tell: Tell = silent,
) -> dict[str, tuple[Clip, ...]]:
    """Transcribe noise of every length with every engine in turn, after one warm-up with the shortest; one that fails has fewer."""
    timings: dict[str, dict[float, list[Timing]]] = {name: {} for name in workers}
    running = dict(workers)
    for number in range(rounds + 1 if running and lengths else 0):
        of_round = sorted(lengths)[:1] if number == 0 else lengths
        for seconds in of_round:
            if seconds >= _LONG and number % 3 != 1:
                continue
            path = write_clip(folder, seconds)
            tell(f"clips of {seconds:g} s, {f'round {number} of {rounds}' if number else 'to warm up'}")
            for name, worker in list(running.items()):
                try:
                    timing = _time(worker, path, seconds)
                except EdgeWhisperError:
                    del running[name]
                    continue
                if number:
                    timings[name].setdefault(seconds, []).append(timing)
    return {
        name: tuple(_clip(seconds, found) for seconds, found in of.items()) for name, of in timings.items()
    }


def _time(worker: Worker, path: Path, seconds: float) -> Timing:
    attempts: list[Timing] = []
    for _ in range(ATTEMPTS if seconds < _LONG else 1):
        time.sleep(PAUSE)
        timing = worker.ask(stage="clip", path=str(path), tokens=tokens_of(seconds))
        assert timing is not None
        attempts.append(timing)
        if timing.counts:
            break
    return min(attempts, key=lambda timing: timing.disturbance)


def _clip(seconds: float, timings: Sequence[Timing]) -> Clip:
    times = sorted(timing.seconds for timing in timings)
    disturbed = sum(not timing.counts for timing in timings)
    return Clip(seconds, statistics.median(times), float(np.quantile(times, 0.95)), len(times), disturbed)
