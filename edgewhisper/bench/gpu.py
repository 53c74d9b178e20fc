"""NVIDIA GPUs, as the driver's program `nvidia-smi` tells of them."""

import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

_PATIENCE = 10.0
"""Seconds for an answer."""

_MEBIBYTE = 2**20


@dataclass(frozen=True)
class GpuMemory:
    """Memory in use at one moment, on all GPUs together.

    Attributes:
        used: bytes; None where it is not told.
        processes: id of each process that computes there -> bytes; None where its share is not told.
    """

    used: int | None
    processes: Mapping[int, int | None]


def gpu_name() -> str | None:
    """The machine's GPU and its driver, such as "NVIDIA H100 80GB HBM3, driver 580.65.06"; None where there is none."""
    lines = _ask("gpu=name,driver_version")
    if not lines:
        return None
    counts = Counter(", driver ".join(line) for line in lines)
    return "; ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items())


def gpu_memory() -> GpuMemory | None:
    """What is in use now; None where there is no GPU."""
    totals = _ask("gpu=memory.used")
    if not totals:
        return None
    used = [_bytes(line[0]) for line in totals]
    processes: dict[int, int | None] = {}
    for line in _ask("compute-apps=pid,used_memory") or []:
        if len(line) == 2 and line[0].isdecimal():
            share, before = _bytes(line[1]), processes.get(int(line[0]), 0)  # a line for each GPU
            processes[int(line[0])] = None if share is None or before is None else before + share
    return GpuMemory(sum(filter(None, used)) if None not in used else None, processes)


def held_by(process: int, before: GpuMemory | None, now: GpuMemory | None) -> int | None:
    """Bytes that a process holds on GPUs; None where nobody tells.

    In a container or a virtual machine the driver may know the process by another id, or not tell its share. Then what counts is
    the only process that has come since `before`, which was read when this one had not begun; else what is in use more than
    before, by whomever.
    """
    if before is None or now is None:
        return None
    new = [share for other, share in now.processes.items() if other not in before.processes]
    share = now.processes.get(process, new[0] if len(new) == 1 else None)
    if share is not None:
        return share
    return None if before.used is None or now.used is None else max(0, now.used - before.used)


def _ask(query: str) -> list[list[str]] | None:
    """The fields of each line of an answer; None where there is none."""
    command = ["nvidia-smi", f"--query-{query}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return [[field.strip() for field in line.split(",")] for line in done.stdout.splitlines() if line.strip()]


def _bytes(mebibytes: str) -> int | None:
    """Of a figure; None of "[N/A]" and the like."""
    return int(mebibytes) * _MEBIBYTE if mebibytes.isdecimal() else None
