"""The processor, as Linux tells of it.

Everything is read below a root folder, so that what another machine tells can be read too. What a system does not tell is
empty.
"""

import platform
import struct
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
# Cores of Arm's own design, by the part number in /proc/cpuinfo.
_ARM_PARTS = {
    0xD03: "Cortex-A53", 0xD04: "Cortex-A35", 0xD05: "Cortex-A55", 0xD07: "Cortex-A57", 0xD08: "Cortex-A72",
    0xD09: "Cortex-A73", 0xD0A: "Cortex-A75", 0xD0B: "Cortex-A76", 0xD0C: "Neoverse-N1", 0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78", 0xD44: "Cortex-X1", 0xD46: "Cortex-A510", 0xD47: "Cortex-A710", 0xD49: "Neoverse-N2",
    0xD4B: "Cortex-A78C", 0xD4D: "Cortex-A715", 0xD4F: "Neoverse-V2", 0xD80: "Cortex-A520", 0xD81: "Cortex-A720",
}  # fmt: skip
_ARM = 0x41  # CPU implementer
# Linux's elf.h and arch/arm64/include/uapi/asm/hwcap.h: entries of the auxiliary vector, and their bits.
_AT_HWCAP, _AT_HWCAP2 = 16, 26
_HWCAP = {1: "asimd", 9: "fphp", 10: "asimdhp", 20: "asimddp", 22: "sve"}
_HWCAP2 = {1: "sve2", 13: "i8mm", 14: "bf16", 23: "sme"}


@dataclass(frozen=True)
class CpuInfo:
    """A machine's processors.

    Attributes:
        architecture: as the kernel names it: aarch64, x86_64, armv7l.
        name: of the cores, such as "Cortex-A72" or "4 × Cortex-A55 + 4 × Cortex-A76".
        flags: instruction sets, as /proc/cpuinfo names them.
        board: of machines with a device tree, such as "Raspberry Pi 5 Model B Rev 1.0".
        emulated: whether another machine's kernel answers, as under user-mode emulation.
    """

    architecture: str
    name: str
    flags: frozenset[str]
    board: str | None = None
    emulated: bool = False

    @property
    def is_arm64(self) -> bool:
        """Whether the kernel is a 64-bit Arm's."""
        return self.architecture in ("aarch64", "arm64")


def read_cpuinfo(root: Path = ROOT, architecture: str | None = None) -> CpuInfo:
    """Read it below `root`; `architecture` is this machine's where it is None."""
    architecture = (architecture or platform.machine()).lower()
    lines = _pairs(root / "proc" / "cpuinfo")
    given = {key for key, _ in lines}
    flags = {flag for key, value in lines if key in ("flags", "Features") for flag in value.split()}
    is_arm64 = architecture in ("aarch64", "arm64")
    emulated = is_arm64 and "flags" in given and "Features" not in given
    if emulated:
        flags, lines = set(), []
    if is_arm64:
        flags |= _auxiliary_flags(root / "proc" / "self" / "auxv")
    return CpuInfo(architecture, _name(lines), frozenset(flags), _board(root, lines), emulated)


def _pairs(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return []
    pairs = (line.partition(":") for line in lines)
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _name(lines: list[tuple[str, str]]) -> str:
    if name := next((value for key, value in lines if key == "model name" and value), ""):
        return name
    cores: Counter[str] = Counter()
    implementer = 0
    for key, value in lines:
        if key == "CPU implementer":
            implementer = _number(value)
        elif key == "CPU part":
            named = _ARM_PARTS.get(_number(value)) if implementer == _ARM else None
            cores[named or f"Arm processor {implementer:#x}/{value}"] += 1
    if len(cores) == 1:
        return next(iter(cores))
    return " + ".join(f"{count} × {name}" for name, count in sorted(cores.items()))


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        return 0


def _board(root: Path, lines: list[tuple[str, str]]) -> str | None:
    try:
        found = (root / "proc" / "device-tree" / "model").read_text(errors="replace").strip("\0\n ")
    except OSError:
        found = ""
    return found or next((value for key, value in lines if key == "Model" and value), None)


def _auxiliary_flags(path: Path) -> set[str]:
    """What the kernel, or an emulator, tells this process of a 64-bit Arm processor."""
    try:
        data = path.read_bytes()
    except OSError:
        return set()
    entries = dict(struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]))
    return {
        name
        for key, names in ((_AT_HWCAP, _HWCAP), (_AT_HWCAP2, _HWCAP2))
        for bit, name in names.items()
        if entries.get(key, 0) >> bit & 1
    }
