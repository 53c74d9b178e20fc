"""Temperature and throttling, where the machine tells them."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")
# Bits of a Raspberry Pi's firmware; those of what happened since it was switched on are _SINCE_BOOT higher.
_FLAGS = ("under-voltage", "frequency capped", "throttled", "soft temperature limit")
_SINCE_BOOT = 16


@dataclass(frozen=True)
class Throttling:
    """Why a Raspberry Pi is slower than it could be, in words: now, and since it was switched on."""

    now: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


def temperature(root: Path = ROOT) -> float | None:
    """Degrees Celsius of the hottest zone."""
    found = []
    for zone in (root / "sys" / "class" / "thermal").glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def throttling(root: Path = ROOT) -> Throttling | None:
    """What a Raspberry Pi's firmware says; None on other machines, and where it may not be asked."""
    bits = _from_kernel(root)
    if bits is None:
        bits = _from_firmware()
    if bits is None:
        return None
    return Throttling(_names(bits), _names(bits >> _SINCE_BOOT))


def throttled() -> bool | None:
    """Whether a Raspberry Pi slows down now; None on other machines."""
    found = throttling()
    return None if found is None else bool(found.now)


def _names(bits: int) -> tuple[str, ...]:
    return tuple(name for place, name in enumerate(_FLAGS) if bits >> place & 1)


def _from_kernel(root: Path) -> int | None:
    """Raspberry Pi's kernel has the firmware's word in a file, as hexadecimal digits."""
    for path in (root / "sys" / "devices" / "platform").glob("*/*firmware/get_throttled"):
        try:
            return int(path.read_text().strip(), 16)
        except (OSError, ValueError):
            continue
    return None


def _from_firmware() -> int | None:
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, check=True, timeout=5
        )
        return int(done.stdout.strip().partition("=")[2], 16)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
