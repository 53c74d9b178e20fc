"""The machine that figures were measured on; `python -m edgewhisper.bench.machine` prints a name for files about it."""

import os
import platform
import re

from edgewhisper.runtime.cpuinfo import read_cpuinfo
from edgewhisper.runtime.memory import memory_figures

from .gpu import gpu_name
from .run import Machine

# Instruction sets that decide which kernels ONNX Runtime takes.
_FEATURES = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimdhp", "asimddp", "i8mm", "sve", "bf16",
)  # fmt: skip


def this_machine() -> Machine:
    """What the system tells; what it does not tell is empty or 0."""
    processor = read_cpuinfo()
    return Machine(
        processor=processor.name or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        cores=os.cpu_count() or 1,
        memory=memory_figures().get("MemTotal", 0),
        system=platform.platform(),
        python=platform.python_version(),
        features=tuple(name for name in _FEATURES if name in processor.flags),
        board=processor.board,
        gpu=gpu_name(),
    )


def file_name(machine: Machine) -> str:
    """A name for files about a machine: its processor or board, and its cores."""
    words = re.sub(r"[^a-z0-9]+", "-", (machine.board or machine.processor).lower()).strip("-")
    features = (
        "-avx512-vnni" if "avx512_vnni" in machine.features else "-avx2" if "avx2" in machine.features else ""
    )
    return f"{words or machine.architecture}{features}-{machine.cores}-cores"


if __name__ == "__main__":
    print(file_name(this_machine()))
