"""`measured.json`: what was measured while an artifact was built. Nothing in it is needed to run the artifact."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import MEASURED, parse_json
from edgewhisper.errors import ArtifactError
from edgewhisper.quant.pruning.vocabulary import VocabularyReport

from .gate import GateReport
from .parity import ParityReport
from .pruning import StructureReport


@dataclass(frozen=True)
class Pruning:
    """What was removed of the checkpoint; None where nothing was to be."""

    vocabulary: VocabularyReport | None
    structure: StructureReport | None


@dataclass(frozen=True)
class ConvolutionTime:
    """How long the encoder's two convolutions take on the machine that built, beside ONNX Runtime's own in fp32.

    Attributes:
        method: how they are computed, such as "F6".
        precision: of their products.
        milliseconds: of one window with random weights of the model's width, two threads, median.
        conv_milliseconds: of ONNX Runtime's fp32 Conv, in turn with it.
    """

    method: str
    precision: str
    milliseconds: float
    conv_milliseconds: float


@dataclass(frozen=True)
class Measurements:
    """The contents of `measured.json`.

    Attributes:
        parity: None where PyTorch was not installed or the check was switched off.
        seconds: build step -> time it took.
        gate: how far the graphs are from fp32; None for fp32 graphs, or where the gate was switched off.
        pruning: what was removed of the checkpoint; None where nothing was.
        convolutions: None where they are ONNX Runtime's, or for another kind of processor.
    """

    parity: ParityReport | None
    seconds: dict[str, float]
    gate: GateReport | None = None
    pruning: Pruning | None = None
    convolutions: ConvolutionTime | None = None


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
