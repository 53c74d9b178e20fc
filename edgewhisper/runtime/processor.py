"""Which number formats this processor computes fast: the targets that an artifact can be built for."""

import platform
from pathlib import Path
from typing import Literal, get_args

Target = Literal["x86-vnni", "x86-avx2", "arm64", "cuda"]
TARGETS: tuple[Target, ...] = get_args(Target)
# INT8 dot products, as the flags of /proc/cpuinfo name them.
_VNNI = {"avx512_vnni", "avx_vnni"}


def host_target() -> Target:
    """The target that fits this machine's processor."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return "arm64"
    return "x86-vnni" if _VNNI & _flags() else "x86-avx2"


def target_mismatch(target: str, provider: str) -> str | None:
    """Why an artifact is slower here than it could be, or less exact; None where it suits this machine.

    Args:
        target: of the artifact; "any" suits every machine.
        provider: that runs it.
    """
    here = "cuda" if provider in ("cuda", "tensorrt") else host_target()
    if target in ("any", here):
        return None
    what = "in half precision for a GPU" if target == "cuda" else f"for {target}"
    return (
        f"the artifact was built {what}, this machine is {here}: it may be slow, or its INT8 products saturate; "
        f"build it with --target {here}"
    )


def _flags() -> set[str]:
    """The processor's features as Linux names them; none where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())
