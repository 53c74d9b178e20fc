"""Temperature, throttling and energy, where the machine tells them."""

import subprocess
from pathlib import Path

_THERMAL = Path("/sys/class/thermal")
_POWERCAP = Path("/sys/class/powercap")
# Bits of a Raspberry Pi's firmware: under-voltage, frequency capped, throttled, soft temperature limit.
_THROTTLED = 0xF


def temperature() -> float | None:
    """Degrees Celsius of the hottest zone."""
    found = []
    for zone in _THERMAL.glob("thermal_zone*/temp"):
        try:
            found.append(int(zone.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return max(found, default=None)


def throttled() -> bool | None:
    """Whether a Raspberry Pi slows down now; None on other machines."""
    try:
        done = subprocess.run(
            ["vcgencmd", "get_throttled"], capture_output=True, text=True, check=True, timeout=5
        )
        return bool(int(done.stdout.strip().partition("=")[2], 16) & _THROTTLED)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def joules() -> float | None:
    """What the processors have taken since some moment; None where it cannot be read. Begins anew from time to time."""
    total = 0.0
    for counter in _POWERCAP.glob("*:[0-9]/energy_uj"):
        try:
            total += int(counter.read_text()) / 1e6
        except (OSError, ValueError):
            return None
    return total or None
