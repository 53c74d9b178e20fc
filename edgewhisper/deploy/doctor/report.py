"""What the doctor found, as data and as JSON; docs/doctor.md describes the format."""

import dataclasses
import json
from dataclasses import dataclass

from .checks import Check
from .choice import Candidate, Choice

SCHEMA = "edgewhisper-doctor"
VERSION = 1


@dataclass(frozen=True)
class Device:
    """The machine; what it does not tell is "", None or 0.

    Attributes:
        processor: its name.
        architecture: of the kernel.
        bits: of the Python that ran.
        board: such as "Raspberry Pi 5 Model B Rev 1.0".
        emulated: whether the processor is.
        features: instruction sets that decide speed.
        cores, fast_cores: physical ones, and those of them that are about as fast as the fastest.
        governor: how the clock is set.
        temperature: degrees Celsius.
        memory, free_memory: bytes.
        python, onnxruntime: versions.
    """

    processor: str
    architecture: str
    bits: int
    board: str | None
    emulated: bool
    features: tuple[str, ...]
    cores: int
    fast_cores: int
    governor: str
    temperature: float | None
    memory: int
    free_memory: int
    python: str
    onnxruntime: str


@dataclass(frozen=True)
class Report:
    """All of it.

    Attributes:
        edgewhisper: the version that examined.
        device: the machine.
        checks: in the order in which they were made.
        use: what to use here: the artifact where one was given, else what is recommended; None where nothing works.
        recommended: which of OpenAI's models suits; None where none does.
        candidates: the models that were weighed.
    """

    edgewhisper: str
    device: Device
    checks: tuple[Check, ...]
    use: Choice | None = None
    recommended: Choice | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def works(self) -> bool:
        """Whether speech becomes text on this device."""
        return all(check.status != "failed" for check in self.checks)

    def to_json(self) -> str:
        """One object, indented."""
        content = {
            "schema": SCHEMA,
            "version": VERSION,
            "works": self.works,
            **dataclasses.asdict(self),
        }
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
