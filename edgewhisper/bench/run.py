"""What a benchmark run writes and reports read: one JSON file, described in docs/benchmark.md.

Times are in milliseconds where a name ends in `_ms`, else in seconds; memory is in bytes. Readers refuse a newer version, and ignore keys
that they do not know.
"""

import dataclasses
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgewhisper.artifact import parse_json
from edgewhisper.atomic import atomic_file
from edgewhisper.errors import ArtifactError, OutputError, UsageError

SCHEMA, VERSION = "edgewhisper-run", 1


@dataclass(frozen=True)
class Spread:
    """Repeated measurements of one thing.

    Attributes:
        median: of all.
        low, high: the least and the most.
        count: how many there were.
        disturbed: how many others disturbed in every attempt (see `runtime.contention`), of which the least disturbed counts.
    """

    median: float
    low: float
    high: float
    count: int
    disturbed: int = 0

    @classmethod
    def of(cls, values: Sequence[float], disturbed: int = 0) -> "Spread":
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values), len(values), disturbed)


@dataclass(frozen=True)
class Machine:
    """Where a run was made."""

    processor: str
    architecture: str
    cores: int
    memory: int
    system: str
    python: str
    features: tuple[
        str, ...
    ] = ()  # of the processor, those that decide speed: avx2, avx512_vnni, asimddp, ..
    board: str | None = None  # such as "Raspberry Pi 5 Model B Rev 1.0"
    gpu: str | None = None  # and its driver, such as "NVIDIA H100 80GB HBM3, driver 580.65.06"


@dataclass(frozen=True)
class Clip:
    """Recordings of one length, from file to text.

    Attributes:
        seconds: of sound.
        p50, p95: seconds that it took.
        count: how often it was done.
    """

    seconds: float
    p50: float
    p95: float
    count: int
    disturbed: int = 0

    @property
    def real_time_factor(self) -> float:
        """Time over length, median."""
        return self.p50 / self.seconds


@dataclass(frozen=True)
class Stage:
    """A part of the work against what the machine could do at most.

    Attributes:
        name: encoder, or a step of so many tokens.
        bytes: of weights and caches that it reads.
        macs: multiply-accumulates.
        seconds: that it took.
        of_bandwidth, of_peak: shares of the machine's measured bandwidth and arithmetic, 0.5 is half.
    """

    name: str
    bytes: int
    macs: int
    seconds: float
    of_bandwidth: float
    of_peak: float


@dataclass(frozen=True)
class Accuracy:
    """Errors on a corpus; rates are shares, 0.02 is 2 %.

    Attributes:
        corpus: its name.
        words: in its transcripts.
        wer, low, high: the word error rate and its 95 % interval.
        cer: character error rate.
        delta: difference of the word error rate to the baseline's, None for the baseline itself; low and high of its 95 % interval.
        same_tokens: share of the baseline's tokens that are written too.
    """

    corpus: str
    words: int
    wer: float
    low: float
    high: float
    cer: float
    delta: tuple[float, float, float] | None = None
    same_tokens: float | None = None


@dataclass(frozen=True)
class Variant:
    """One engine in one form, and what was measured of it; None where it was not asked for or there is no such thing.

    Attributes:
        name: of the variant, unique in its model: "edgewhisper int8", "faster-whisper int8".
        engine: "edgewhisper", or the peer's name.
        precision: as the engine calls it.
        options: what else it was told, such as {"acceptance": "0.75"}; {"provider": "cuda"} on an NVIDIA GPU.
        threads: of one graph.
        versions: of the engine's packages.
        failure: why it could not be measured.
        load: seconds from the start of the process to a loaded model.
        first_token_ms: from the window's frames to the first token.
        encoder_ms: one window, with the keys and values of cross-attention.
        token_ms: one token in the middle of a text.
        step_ms: tokens at once -> time of the step.
        window_ms: one window of `Model.window` seconds with `Model.tokens` tokens, encoder and decoder.
        clips: recordings of several lengths.
        peak: the most memory of a fresh process that transcribes a window.
        steady: memory after it.
        device: memory that its process holds on the GPU after a window.
        cpu: processor time over wall time while a window is decoded.
        joules: that a window takes, where the machine tells.
        disk: what is installed of the model.
        same_text: share of the windows decoded with guesses that have the text of greedy decoding; a GPU may change last bits.
        ratios: "encoder", "token" and "window" -> its time over that of the first variant with as many threads, round by round.
        accuracy: on a corpus, where the model is trained.
        stages: against what the machine could do.
        memory_over_time: seconds since the start -> resident memory.
    """

    name: str
    engine: str
    precision: str
    options: dict[str, str] = field(default_factory=dict)
    threads: int = 2
    versions: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    load: Spread | None = None
    first_token_ms: Spread | None = None
    encoder_ms: Spread | None = None
    token_ms: Spread | None = None
    step_ms: dict[str, Spread] = field(default_factory=dict)
    window_ms: Spread | None = None
    clips: tuple[Clip, ...] = ()
    peak: int | None = None
    steady: int | None = None
    device: int | None = None
    cpu: float | None = None
    joules: float | None = None
    disk: int | None = None
    same_text: float | None = None
    ratios: dict[str, Spread] = field(default_factory=dict)
    accuracy: Accuracy | None = None
    stages: tuple[Stage, ...] = ()
    memory_over_time: tuple[tuple[float, int], ...] = ()

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU ran it."""
        return self.options.get("provider", "cpu") != "cpu"


@dataclass(frozen=True)
class Gain:
    """Speculative decoding at one acceptance rate: accepted / proposed tokens, imposed or as it came, and greedy time over speculative.

    `same_text` as of a variant.
    """

    acceptance: float
    speed_up: float
    tokens_per_verification: float
    imposed: bool
    same_text: float | None = None


@dataclass(frozen=True)
class WinogradError:
    """Of one form and scale of points: relative error in a number format, and the largest."""

    form: str  # such as "F(4,3)"
    c: float
    precision: str
    mean: float
    largest: float


@dataclass(frozen=True)
class Model:
    """What was measured with one checkpoint; the first variant is what the others are compared with.

    Attributes:
        name: of the checkpoint.
        random_weights: whether they are, so that there is no accuracy.
        tokens: of the window whose time is `window_ms`; 0 where none was timed.
        variants: in the order in which they are shown.
        gains: of speculative decoding.
        window: seconds of a window.
    """

    name: str
    random_weights: bool
    tokens: int
    variants: tuple[Variant, ...]
    gains: tuple[Gain, ...] = ()
    window: float = 30.0


@dataclass(frozen=True)
class Run:
    """One run of the benchmark.

    Attributes:
        when: it began, ISO 8601, UTC.
        command: what was asked for.
        temperatures: seconds since the start -> degrees Celsius, where the machine tells.
        throttled: whether the machine said that it slowed down; None where it does not tell.
        finished: whether it came to its end; one that was ended holds what had been measured by then.
    """

    when: str
    machine: Machine
    models: tuple[Model, ...]
    versions: dict[str, str] = field(default_factory=dict)
    command: str = ""
    winograd: tuple[WinogradError, ...] = ()
    temperatures: tuple[tuple[float, float], ...] = ()
    throttled: bool | None = None
    finished: bool = True


def write_run(run: Run, path: Path) -> None:
    """Write a run.

    Raises:
        OutputError: the file cannot be written.
    """
    content: Mapping[str, object] = {"schema": SCHEMA, "version": VERSION, **dataclasses.asdict(run)}
    try:
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another file") from None


def read_run(path: Path) -> Run:
    """Read a run.

    Raises:
        UsageError: it is not there, damaged, no run, or of a newer version.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be read ({error.strerror}); give a file of 'edgewhisper bench'"
        ) from None
    except (ValueError, RecursionError):
        raise UsageError(f"{path}: is not JSON; give a file of 'edgewhisper bench'") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UsageError(f"{path}: is not a benchmark run; give a file of 'edgewhisper bench'")
    version = content.get("version")
    if type(version) is not int or version > VERSION:
        raise UsageError(f"{path}: version {version!r} is newer than {VERSION}; upgrade edgewhisper")
    try:
        run: Run = parse_json(Run, content, str(path))
    except ArtifactError as error:
        line = str(error).rpartition(";")[0] or str(error)
        raise UsageError(f"{line}; run 'edgewhisper bench' again") from None
    return run
