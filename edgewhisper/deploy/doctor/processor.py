"""The processor: architecture, instruction sets, cores, clock, heat and power."""

from edgewhisper.runtime.processor import host_target
from edgewhisper.runtime.sensors import temperature, throttling

from .checks import Check, fine, problem
from .host import Host

# What ONNX Runtime's kernels make use of -> what its users call it.
_FEATURES = {
    "avx2": "AVX2", "avx_vnni": "AVX-VNNI", "avx512f": "AVX-512", "avx512_vnni": "AVX-512 VNNI", "amx_int8": "AMX",
    "asimddp": "dotprod", "i8mm": "i8mm", "asimdhp": "fp16", "bf16": "bf16", "sve": "SVE", "sme": "SME",
}  # fmt: skip
_X86 = ("x86_64", "amd64")
_HOT = 80.0  # °C: where a Raspberry Pi begins to lower its clock
# Drivers whose "powersave" lets the processor choose its clock.
_CHOOSING_DRIVERS = ("intel_pstate", "amd-pstate-epp", "amd_pstate")


def features(host: Host) -> tuple[str, ...]:
    """The instruction sets that decide speed, by their usual names."""
    return tuple(name for flag, name in _FEATURES.items() if flag in host.processor.flags)


def check_processor(host: Host) -> list[Check]:
    """Whether ONNX Runtime has a build for it, and what it can do."""
    found = host.processor
    what = f"{found.name or ('emulated' if found.emulated else 'unknown')}, {found.architecture}"
    what += f", {', '.join(features(host))}" if features(host) else ""
    if host.bits == 32:
        # A 32-bit program is told armv8l by the kernel of a 64-bit processor.
        is_64_bit = found.is_arm64 or found.architecture in (*_X86, "armv8l")
        name = "32-bit-userland" if is_64_bit else "32-bit-system"
        return [problem(name, "processor", f"{what}, and a 32-bit Python")]
    if not found.is_arm64 and found.architecture not in _X86:
        return [problem("unknown-architecture", "processor", what)]
    if found.emulated:
        return [problem("emulated", "processor", what)]
    if not found.is_arm64 and "avx2" not in found.flags:
        return [problem("no-avx2", "processor", what)]
    return [fine("processor", f"{what}; target {host_target(found)}")]


def check_cores(host: Host) -> list[Check]:
    """How many, and how their clock is set."""
    cores = host.cores
    words = [f"{cores.physical}"]
    if cores.fast < cores.physical:
        words.append(f"{cores.fast} of them fast")
    if cores.logical > cores.physical:
        words.append(f"{cores.logical} threads")
    if cores.quota is not None:
        words.append(f"time for {cores.quota:g} allowed")
    if cores.megahertz:
        words.append(f"up to {cores.megahertz} MHz")
    if cores.governor:
        words.append(f"governor {cores.governor}")
    text = ", ".join(words)
    if cores.governor == "powersave" and cores.driver not in _CHOOSING_DRIVERS:
        return [problem("powersave", "cores", text)]
    return [fine("cores", text)]


def check_power(host: Host) -> list[Check]:
    """Heat and power, where the board tells."""
    checks = []
    degrees = temperature(host.root)
    if degrees is not None:
        text = f"{degrees:.0f} °C"
        checks.append(problem("hot", "temperature", text) if degrees >= _HOT else fine("temperature", text))
    found = throttling(host.root)
    if found is None:
        return checks
    if found.now:
        checks.append(problem("throttled", "power", f"now: {', '.join(found.now)}"))
    elif found.before:
        checks.append(
            problem("was-throttled", "power", f"since it was switched on: {', '.join(found.before)}")
        )
    else:
        checks.append(fine("power", "no under-voltage, no throttling"))
    return checks
