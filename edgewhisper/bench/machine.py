"""The machine that figures were measured on; `python -m edgewhisper.bench.machine` prints a name for files about it."""

import os
import platform
import re
from pathlib import Path

from .run import Machine

# Instruction sets that decide which kernels ONNX Runtime takes.
_FEATURES = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "bf16",
)  # fmt: skip


def this_machine() -> Machine:
    """What the system tells; what it does not tell is empty or 0."""
    lines = _lines(Path("/proc/cpuinfo"))
    flags = {flag for key, value in lines if key in ("flags", "Features") for flag in value.split()}
    return Machine(
        processor=_processor(lines),
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        memory=_memory(),
        system=platform.platform(),
        python=platform.python_version(),
        features=tuple(name for name in _FEATURES if name in flags),
        board=_board(),
    )


def file_name(machine: Machine) -> str:
    """A name for files about a machine: its processor or board, and its cores."""
    words = re.sub(r"[^a-z0-9]+", "-", (machine.board or machine.processor).lower()).strip("-")
    features = (
        "-avx512-vnni" if "avx512_vnni" in machine.features else "-avx2" if "avx2" in machine.features else ""
    )
    return f"{words or machine.architecture}{features}-{machine.cores}-cores"


def _lines(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _processor(lines: list[tuple[str, str]]) -> str:
    for wanted in ("model name", "Model", "Hardware", "CPU part"):
        for key, value in lines:
            if key == wanted and value:
                return value
    return platform.processor() or platform.machine()


def _memory() -> int:
    for key, value in _lines(Path("/proc/meminfo")):
        if key == "MemTotal":
            return int(value.split()[0]) * 1024
    return 0


def _board() -> str | None:
    """Of boards with a device tree, such as a Raspberry Pi."""
    try:
        return Path("/proc/device-tree/model").read_text().strip("\0\n ") or None
    except OSError:
        return None


if __name__ == "__main__":
    print(file_name(this_machine()))
