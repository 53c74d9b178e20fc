"""`measured.json`: what was measured while an artifact was built. Nothing in it is needed to run the artifact."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import MEASURED, parse_json
from edgewhisper.errors import ArtifactError

from .gate import GateReport
from .parity import ParityReport


@dataclass(frozen=True)
class Measurements:
    """The contents of `measured.json`.

    Attributes:
        parity: None where PyTorch was not installed or the check was switched off.
        seconds: build step -> time it took.
        gate: how far the graphs are from fp32; None for fp32 graphs, or where the gate was switched off.
    """

    parity: ParityReport | None
    seconds: dict[str, float]
    gate: GateReport | None = None


def write_measurements(folder: Path, measurements: Measurements) -> None:
    """Write `folder/measured.json`."""
    text = json.dumps(dataclasses.asdict(measurements), indent=1)
    (folder / MEASURED).write_text(text + "\n", encoding="utf-8")


def read_measurements(folder: Path) -> Measurements | None:
    """Read `folder/measured.json`; None where there is none, as it may be left out of a copy.

    Raises:
        ArtifactError: it is damaged.
    """
    path = folder / MEASURED
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged ({error}); remove it or build the artifact again") from None
    measurements: Measurements = parse_json(Measurements, data, str(path))
    return measurements
