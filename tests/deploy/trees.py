"""The files of other machines, as far as they tell what they are: /proc and /sys below a folder.

Contents are those that Linux writes on such boards, shortened to what is read.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

PI_4 = """\
processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""
PI_5 = PI_4.replace("0xd08", "0xd0b").replace(
    "fp asimd evtstrm crc32 cpuid",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
)
PI_ZERO_2 = PI_4.replace("0xd08", "0xd03")
# A Rock 5B: four small cores, then four large ones.
ROCK_5B = 4 * PI_5.replace("0xd0b", "0xd05") + 4 * PI_5
X86 = """\
processor\t: 0
vendor_id\t: GenuineIntel
model name\t: Intel(R) N100
flags\t\t: fpu sse2 avx avx2 avx_vnni
"""


def write_files(root: Path, files: Mapping[str, str]) -> Path:
    """Write files below `root`, and return it."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def meminfo(total: int, available: int, swap_free: int = 0) -> str:
    """/proc/meminfo; megabytes of 1024 kB."""
    figures = {"MemTotal": total, "MemFree": available // 2, "MemAvailable": available, "SwapFree": swap_free}
    return "".join(f"{key + ':':<16}{1024 * value:>8} kB\n" for key, value in figures.items())


def cpus(count: int, **files: str) -> dict[str, str]:
    """/sys of so many cores, each with the same files: `cpufreq__scaling_governor="ondemand"`."""
    base = "sys/devices/system/cpu"
    each = {name.replace("__", "/"): text for name, text in files.items()}
    found = {f"{base}/cpu{core}/{name}": text for core in range(count) for name, text in each.items()}
    siblings = {f"{base}/cpu{core}/topology/thread_siblings_list": f"{core}\n" for core in range(count)}
    return {f"{base}/online": f"0-{count - 1}\n"} | siblings | found


def raspberry_pi(root: Path, cpuinfo: str, model: str, memory: str, throttled: str = "0") -> Path:
    """A Raspberry Pi with four cores and a warm processor."""
    return write_files(
        root,
        {
            "proc/cpuinfo": 4 * cpuinfo + f"Revision\t: c03111\nModel\t\t: {model}\n",
            "proc/device-tree/model": f"{model}\0",
            "proc/meminfo": memory,
            "sys/class/thermal/thermal_zone0/temp": "48312\n",
            "sys/devices/platform/soc/soc:firmware/get_throttled": f"{throttled}\n",
        }
        | cpus(
            4,
            cpufreq__scaling_governor="ondemand\n",
            cpufreq__scaling_driver="cpufreq-dt\n",
            cpufreq__cpuinfo_max_freq="1800000\n",
        ),
    )


def auxiliary_vector(hwcap: int, hwcap2: int) -> bytes:
    """/proc/self/auxv of a 64-bit process."""
    return struct.pack("<8Q", 6, 4096, 16, hwcap, 26, hwcap2, 0, 0)


def write_program(folder: Path, name: str, script: str) -> None:
    """A program that stands in for one that this machine does not have."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
