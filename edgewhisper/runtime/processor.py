"""Which number formats this processor computes fast: the targets that an artifact can be built for."""

from typing import Literal, get_args

from .cpuinfo import CpuInfo, read_cpuinfo

Target = Literal["x86-vnni", "x86-avx2", "arm64", "cuda"]
TARGETS: tuple[Target, ...] = get_args(Target)
# INT8 dot products, as the flags of /proc/cpuinfo name them.
_VNNI = {"avx512_vnni", "avx_vnni"}


def host_target(processor: CpuInfo | None = None) -> Target:
    """The target that fits a processor, this machine's where it is None."""
    processor = processor or read_cpuinfo()
    if processor.is_arm64:
        return "arm64"
    return "x86-vnni" if _VNNI & processor.flags else "x86-avx2"


def target_mismatch(target: str, provider: str, processor: CpuInfo | None = None) -> str | None:
    """Why an artifact is slower here than it could be, or less exact; None where it suits this machine.

    Args:
        target: of the artifact; "any" suits every machine.
        provider: that runs it.
        processor: None: this machine's.
    """
    here = "cuda" if provider in ("cuda", "tensorrt") else host_target(processor)
    if target in ("any", here):
        return None
    what = "in half precision for a GPU" if target == "cuda" else f"for {target}"
    return (
        f"the artifact was built {what}, this machine is {here}: it may be slow, or its INT8 products saturate; "
        f"build it with --target {here}"
    )
