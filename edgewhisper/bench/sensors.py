"""Energy, where the machine tells it."""

from pathlib import Path

_POWERCAP = Path("/sys/class/powercap")


def joules() -> float | None:
    """What the processors have taken since some moment; None where it cannot be read. Begins anew from time to time."""
    total = 0.0
    for counter in _POWERCAP.glob("*:[0-9]/energy_uj"):
        try:
            total += int(counter.read_text()) / 1e6
        except (OSError, ValueError):
            return None
    return total or None
