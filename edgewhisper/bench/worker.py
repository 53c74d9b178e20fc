"""One engine in a process of its own: commands come as JSON lines on standard input, timings go to standard output."""

import dataclasses
import importlib.metadata
import json
import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.contention import Timing

from .engines import engine_kind
from .engines.common import Engine

_AWAKE = 0.1
"""Seconds of work before each timing of a GPU, which slows down while it has nothing to do."""

_SEED = 7
_LOUDNESS = 0.3  # standard deviation of the noise that stands in for log-mel features


def main() -> None:
    """python -m edgewhisper.bench.worker ENGINE WORK THREADS MEL_BINS FRAMES, or ... convert ENGINE WORK."""
    try:
        _run()
    except EdgeWhisperError as error:
        sys.exit(str(error))


def _run() -> None:
    warnings.simplefilter("ignore")
    if sys.argv[1] == "convert":
        _, name, work = sys.argv[1:]
        if os.getsid(0) == os.getpid():  # what it starts is in its session alone
            threading.Thread(target=_end_with_parent, daemon=True).start()
        kind = engine_kind(name)
        kind.engine.convert(Path(work), kind.precision)
        return
    name, work, threads, n_mels, frames = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints must not be taken for an answer
    kind = engine_kind(name)
    noise = np.random.default_rng(_SEED).standard_normal((int(n_mels), int(frames)), np.float32)
    engine = kind.engine(Path(work), kind.precision, int(threads))
    _answer(answers, {"versions": {package: _version(package) for package in kind.engine.packages}})
    log_mel, on_gpu = noise * np.float32(_LOUDNESS), kind.provider != "cpu"
    for line in sys.stdin:
        if on_gpu:
            _keep_awake(engine, log_mel)
        timing = _measure(engine, json.loads(line), log_mel)
        same_text = getattr(engine, "same_text", None)  # of this project's engine, where it guesses
        _answer(
            answers,
            {"timing": None if timing is None else dataclasses.asdict(timing), "same_text": same_text},
        )


def _end_with_parent() -> None:
    while os.read(0, 1):  # not sys.stdin, whose lock would be held at the end
        pass
    os.killpg(0, signal.SIGKILL)


def _keep_awake(engine: Engine, log_mel: np.ndarray[Any, Any]) -> None:
    until = time.perf_counter() + _AWAKE
    while time.perf_counter() < until:
        engine.encode(log_mel)


def _version(package: str) -> str:
    """What is loaded says best: onnxruntime comes in several packages, and this one need not be installed."""
    loaded = getattr(sys.modules.get(package.replace("-", "_")), "__version__", None)
    return str(loaded or importlib.metadata.version(package))


def _measure(engine: Engine, command: dict[str, Any], log_mel: np.ndarray[Any, Any]) -> Timing | None:
    stage = command["stage"]
    if stage == "encode":
        return engine.encode(log_mel)
    if stage == "first step":
        return engine.first_step()
    if stage == "step":
        return engine.step(command["tokens"])
    if stage == "clip":
        clip = getattr(engine, "clip", None)  # of this project's engine
        return None if clip is None else clip(Path(command["path"]), command["tokens"])
    if stage == "first token":
        return _together(engine.encode(log_mel), engine.decode(1))
    return engine.decode(command["tokens"])


def _together(first: Timing, second: Timing) -> Timing:
    """Two stretches as one."""
    seconds = first.seconds + second.seconds

    def share(name: str) -> float:
        parts = (getattr(timing, name) * timing.seconds for timing in (first, second))
        return float(sum(parts)) / seconds

    return Timing(seconds, share("waited"), share("stolen"), share("cpu"))


def _answer(answers: TextIO, value: dict[str, object]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
