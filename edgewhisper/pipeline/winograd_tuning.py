"""Measure the ways to compute Whisper's two convolutions on this machine, and write the table that `--winograd auto` reads."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.artifact import RewriteInfo
from edgewhisper.atomic import atomic_file
from edgewhisper.errors import OutputError
from edgewhisper.export.nodes import CONTRIB
from edgewhisper.export.pass_writer import PassWriter
from edgewhisper.export.winograd import rewrite
from edgewhisper.export.winograd.accuracy import relative_error
from edgewhisper.export.winograd.choice import Measured, Method, Precision, Table, TargetTable
from edgewhisper.runtime.processor import host_target

from .measurements import ConvolutionTime

WIDTHS = (384, 512, 768, 1024, 1280)  # tiny, base, small, medium, large
MELS, FRAMES = 80, 3000
METHODS: dict[Precision, tuple[Method, ...]] = {
    "fp32": ("slices", "F2", "F4", "F6"),
    "int8": ("slices", "F2"),
}
# A block of runs of one candidate, then one of the next: what one leaves in the caches is not charged to another.
ROUNDS, BLOCK, WARM = 5, 6, 2
OPSET, IR_VERSION = 20, 10


@dataclass(frozen=True)
class StemTime:
    """One way to compute the stem: log-mel [1, 80, 3000] in, [1, 1500, width] after the second Gelu out."""

    width: int
    precision: Precision
    method: Method  # "off": ONNX Runtime's Conv
    milliseconds: float  # median
    speedup: float  # over the fp32 Conv
    error: float  # ||y - y64|| / ||y64||


def stem_model(width: int) -> ir.Model:
    """Conv . Gelu . Conv . Gelu . Transpose with random weights of the usual scale."""
    random = np.random.default_rng(width)
    x = ir.Value(
        name="audio_features",
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape(["batch", MELS, "frames"]),
    )
    y = ir.Value(
        name="hidden", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["batch", "positions", width])
    )
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": OPSET, CONTRIB: 1}, name="stem")
    writer = PassWriter(graph, "stem")
    value = x
    for name, channels, stride in (("conv1", MELS, 1), ("conv2", width, 2)):
        weight = random.normal(size=(width, channels, 3)) / np.sqrt(3 * channels)
        bias = 0.1 * random.normal(size=width)
        value = writer.op(
            "Conv", value, writer.constant(f"{name}.weight", weight.astype(np.float32)),
            writer.constant(f"{name}.bias", bias.astype(np.float32)),
            kernel_shape=[3], pads=[1, 1], strides=[stride],
        )  # fmt: skip
        value = writer.op("Gelu", value, domain=CONTRIB)
    last = writer.op("Transpose", value, perm=[0, 2, 1])
    last.name, last.type, last.shape = y.name, y.type, y.shape
    graph.extend(writer.nodes)
    graph.outputs.append(last)
    return ir.Model(graph, ir_version=IR_VERSION)


def measure_stems(
    width: int,
    target: str,
    threads: int,
    candidates: Sequence[tuple[Precision, Method]],
    model: Callable[[int], ir.Model] = stem_model,
) -> tuple[StemTime, ...]:
    """Time the fp32 Conv and every candidate, interleaved; the Conv comes first."""
    import onnxruntime as ort

    features = _features()
    exact = _exact(model(width), features)
    timed: list[tuple[Precision, Method]] = [("fp32", "off"), *candidates]
    sessions = []
    for precision, method in timed:
        graph = model(width)
        rewrite(graph, method, target, precision)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        # Idle threads of one candidate must not take the processor from the next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        content = ir.to_proto(graph).SerializeToString()
        sessions.append(ort.InferenceSession(content, options, providers=["CPUExecutionProvider"]))
    feed = {"audio_features": features}
    times: list[list[float]] = [[] for _ in sessions]
    for _ in range(ROUNDS):
        for session, found in zip(sessions, times, strict=True):
            for run in range(BLOCK):
                begin = time.perf_counter()
                session.run(None, feed)
                if run >= WARM:
                    found.append(1000 * (time.perf_counter() - begin))
    medians = [float(np.median(found)) for found in times]
    return tuple(
        StemTime(
            width,
            precision,
            method,
            round(median, 3),
            round(medians[0] / median, 3),
            relative_error(session.run(None, feed)[0], exact),
        )
        for (precision, method), median, session in zip(timed, medians, sessions, strict=True)
    )


def time_convolutions(
    rewrites: Sequence[RewriteInfo], width: int, precision: Precision, threads: int = 2
) -> ConvolutionTime | None:
    """How long an encoder's rewritten convolutions take here; None where they are as they were.

    Args:
        rewrites: what became of them.
        width: of the model.
        precision: of their products.
        threads: to run with.
    """
    made = next((info.method for info in rewrites if info.method != "none"), None)
    method = next((name for name in METHODS["fp32"] if made in (name, f"F({name[1:]},3)")), None)
    if method is None:
        return None
    conv, rewritten = measure_stems(width, host_target(), threads, [(precision, method)])
    return ConvolutionTime(method, precision, rewritten.milliseconds, conv.milliseconds)


def tune(
    target: str,
    threads: int,
    machine: str,
    progress: Callable[[int, int], None] | None = None,
    widths: Sequence[int] = WIDTHS,
) -> tuple[Table, tuple[StemTime, ...]]:
    """Measure every method for every width; the fastest ones become the table of `target`."""
    candidates = [(precision, method) for precision, methods in METHODS.items() for method in methods]
    found: list[StemTime] = []
    for done, width in enumerate(widths):
        found += measure_stems(width, target, threads, candidates)
        if progress is not None:
            progress(done + 1, len(widths))
    return table_of(found, target, machine), tuple(found)


def run(threads: int, output: Path | None, progress: Callable[[int, int], None] | None = None) -> str:
    """Measure this machine, write the table to `output` where one is given, and return what was measured as text.

    Raises:
        OutputError: the table cannot be written.
    """
    from tabulate import tabulate

    machine = f"{_processor()}, {threads} threads, ONNX Runtime {_version()}"
    table, found = tune(host_target(), threads, machine, progress)
    if output is not None:
        try:
            with atomic_file(output) as temporary:
                temporary.write_text(table.to_json())
        except OSError as error:
            raise OutputError(f"{output}: cannot be written ({error.strerror})") from None
    rows = [(s.width, s.precision, s.method, s.milliseconds, s.speedup, s.error) for s in found]
    headers = ("width", "precision", "method", "ms", "speed-up", "error")
    return tabulate(rows, headers, floatfmt=("", "", "", ".2f", ".2f", ".1e"))


def table_of(found: Sequence[StemTime], target: str, machine: str) -> Table:
    """The table in which each width has its fastest method."""
    chosen: dict[str, tuple[Measured, ...]] = {}
    for precision in METHODS:
        rows = []
        for width in sorted({stem.width for stem in found}):
            stems = [s for s in found if s.width == width and (s.precision == precision or s.method == "off")]
            best = min(stems, key=lambda stem: stem.milliseconds)
            rows.append(Measured(width, best.method, best.speedup))
        chosen[precision] = tuple(rows)
    return Table(target, {target: TargetTable(machine, chosen)})


def _features() -> NDArray[np.float32]:
    """Log-mel features of a window as Whisper scales them: between -1 and 1.5, alike in neighbouring frames."""
    random = np.random.default_rng(0)
    steps = random.normal(size=(1, MELS, FRAMES + 7))
    smooth = sum(steps[..., k : k + FRAMES] for k in range(8)) / np.sqrt(8)
    return np.asarray(np.clip(0.25 + 0.6 * smooth, -1, 1.5), np.float32)


def _exact(model: ir.Model, features: NDArray[np.float32]) -> NDArray[np.float64]:
    """The stem in float64, from its definition."""
    from math import erf

    gelu = np.vectorize(lambda x: 0.5 * x * (1 + erf(x / 2**0.5)), otypes=[np.float64])
    x = features[0].astype(np.float64).T
    for name, stride in (("conv1", 1), ("conv2", 2)):
        weight, bias = (_array(model, f"{name}.{part}") for part in ("weight", "bias"))
        padded = np.pad(x, ((1, 1), (0, 0)))
        count = (len(x) - 1) // stride + 1
        taps = [padded[k : k + stride * (count - 1) + 1 : stride] @ weight[:, :, k].T for k in range(3)]
        x = gelu(sum(taps) + bias)
    return np.asarray(x)[None]


def _array(model: ir.Model, name: str) -> NDArray[np.float64]:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy(), np.float64)


def _processor() -> str:
    """The processor's name, as Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version() -> str:
    import onnxruntime

    return str(onnxruntime.__version__)
