"""One engine in a process of its own: commands come as JSON lines on standard input, timings go to standard output."""

import dataclasses
import json
import os
import sys
import warnings
from pathlib import Path
from typing import TextIO

import numpy as np

from edgewhisper.runtime.memory import peak_memory

from .engines import ENGINES

_SEED = 7


def main() -> None:
    """python -m edgewhisper.bench.worker ENGINE CHECKPOINT WORK THREADS MEL_BINS FRAMES, or ... convert ENGINE CHECKPOINT WORK."""
    if sys.argv[1] == "convert":
        _, engine_name, checkpoint, work = sys.argv[1:]
        ENGINES[engine_name].convert(Path(checkpoint), Path(work))
        return
    engine_name, checkpoint, work, threads, n_mels, frames = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an engine prints must not be taken for an answer
    warnings.simplefilter("ignore")
    log_mel = np.random.default_rng(_SEED).standard_normal(
        (int(n_mels), int(frames)), np.float32
    ) * np.float32(0.3)
    engine = ENGINES[engine_name](Path(checkpoint), Path(work), int(threads))
    _answer(answers, {"ready": True})
    for line in sys.stdin:
        command = json.loads(line)
        timing = engine.encode(log_mel) if command["stage"] == "encode" else engine.decode(command["tokens"])
        _answer(answers, dataclasses.asdict(timing) | {"peak": peak_memory()})


def _answer(answers: TextIO, value: dict[str, object]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
