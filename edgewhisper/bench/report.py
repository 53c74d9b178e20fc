"""Figures of one model as a table for people and as JSON for programs."""

import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from edgewhisper.atomic import atomic_file
from edgewhisper.errors import OutputError
from edgewhisper.runtime.contention import TOLERATED

from .speed import FIRST, LAST, SEVERAL, Speed


@dataclass(frozen=True)
class EngineFigures:
    """What was measured of one engine; None where it was not asked for, failed, or has no such thing.

    Attributes:
        speed: timings.
        peak: memory of a process that loads the engine, encodes a window and decodes LAST tokens, in bytes.
        transcription_peak: memory of transcribing a recording of one window with the command, in bytes; of ours only.
        versions: of the engine's packages.
        failure: why something is missing.
    """

    speed: Speed | None = None
    peak: int | None = None
    transcription_peak: int | None = None
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class ModelFigures:
    """What was measured with one checkpoint.

    Attributes:
        model: the checkpoint's name.
        threads: of every engine.
        engines: by name; the first is what the others are compared with.
    """

    model: str
    threads: int
    engines: Mapping[str, EngineFigures]


def table(figures: ModelFigures) -> str:
    """Medians, how many times the first engine's they are, processor time over wall time, and what disturbed them."""
    reference = next(iter(figures.engines.values()))
    rows = [_row(name, engine, reference) for name, engine in figures.engines.items()]
    headers = [
        "engine",
        "encode ms",
        "ratio",
        "cpu",
        "ms/token",
        "ratio",
        "cpu",
        f"{SEVERAL} tokens",
        "peak MB",
        "",
    ]
    title = f"{figures.model}, random weights, {figures.threads} threads, greedy, tokens {FIRST} to {LAST}"
    failures = [
        f"{name}: {engine.failure}" for name, engine in figures.engines.items() if engine.failure is not None
    ]
    return "\n".join([title, tabulate(rows, headers, disable_numparse=True, colalign=_ALIGNMENT), *failures])


_ALIGNMENT = ("left", *["right"] * 8, "left")


def _row(name: str, engine: EngineFigures, reference: EngineFigures) -> list[str]:
    cells = [name]
    speed = engine.speed
    if speed is None:
        cells += ["-"] * 7
    else:
        base = reference.speed or speed
        several = speed.several_ratio
        cells += [
            f"{speed.encoder_ms:.1f}",
            f"{speed.encoder_ms / base.encoder_ms:.2f}",
            f"{speed.encoder_cpu:.2f}",
            f"{speed.token_ms:.2f}",
            f"{speed.token_ms / base.token_ms:.2f}",
            f"{speed.token_cpu:.2f}",
            "" if several is None else f"{several:.2f}x",
        ]
    peaks = [peak for peak in (engine.peak, engine.transcription_peak) if peak is not None]
    cells.append(" / ".join(f"{peak / 1e6:.0f}" for peak in peaks) or "-")
    disturbed = 0 if speed is None else speed.disturbed
    cells.append(f"{disturbed} timings disturbed by more than {TOLERATED:.0%}" if disturbed else "")
    return cells


def write_json(path: Path, figures: Sequence[ModelFigures]) -> None:
    """Write every timing, and what the table shows of them.

    Raises:
        OutputError: the file cannot be written.
    """
    content = {"machine": _machine(), "models": [_model(each) for each in figures]}
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another file") from None


def _model(figures: ModelFigures) -> dict[str, Any]:
    engines = {name: _engine(engine) for name, engine in figures.engines.items()}
    return {"model": figures.model, "threads": figures.threads, "engines": engines}


def _engine(engine: EngineFigures) -> dict[str, Any]:
    content = dataclasses.asdict(engine)
    if engine.speed is not None:
        content["speed"] |= {
            "encoder_ms": engine.speed.encoder_ms,
            "token_ms": engine.speed.token_ms,
            "several_ratio": engine.speed.several_ratio,
        }
    return content


def _machine() -> dict[str, object]:
    return {
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
