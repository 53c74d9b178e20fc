"""The machine that figures were measured on."""

import os
import platform
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
