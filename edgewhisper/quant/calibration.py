"""What values an fp32 graph computes over calibration data, and the ranges that INT8 gives them.

Static INT8 fixes a scale per tensor before the graph runs. The data come from the caller, who decodes; here they only run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.errors import BuildError

RangeMethod = Literal["minmax", "percentile", "entropy"]
RANGE_METHODS: tuple[RangeMethod, ...] = get_args(RangeMethod)
# Of a channel's histogram, which spans at most four times its values.
_BINS = 256
# Of the histogram of all channels, from which a range is chosen.
_TENSOR_BINS = 2048
# What the percentile range leaves out at either end: one value in a hundred thousand.
_TAIL = 1e-5
_TINY = np.float32(1e-30)
# Positive levels of INT8.
_LEVELS = 128


@dataclass(frozen=True)
class Statistics:
    """The values of one tensor [..., channels] over all calibration data.

    Attributes:
        minimum, maximum: per channel [channels].
        limit: the histogram's bins divide -limit .. limit, per channel [channels].
        histogram: counts [channels, bins].
    """

    minimum: NDArray[np.float32]
    maximum: NDArray[np.float32]
    limit: NDArray[np.float32]
    histogram: NDArray[np.int64]

    @property
    def largest(self) -> NDArray[np.float32]:
        """The largest magnitude of each channel."""
        magnitude: NDArray[np.float32] = np.maximum(-self.minimum, self.maximum)
        return magnitude

    def scaled(self, factors: NDArray[np.float32]) -> "Statistics":
        """The statistics of the tensor times a positive factor per channel."""
        return Statistics(
            self.minimum * factors, self.maximum * factors, self.limit * factors, self.histogram
        )

    def range(self, method: RangeMethod) -> tuple[float, float]:
        """The lowest and the highest value that INT8 should hold; zero lies between them.

        "minmax" holds every value seen; "percentile" all but the outermost; "entropy" the range whose quantized distribution
        diverges least from the distribution seen (Migacz, 8-bit Inference with TensorRT, GTC 2017).
        """
        low, high = min(0.0, float(self.minimum.min())), max(0.0, float(self.maximum.max()))
        if method == "minmax" or low == high:
            return low, high
        counts, edges = self._of_all_channels(low, high)
        if method == "percentile":
            cumulative = np.cumsum(counts) / counts.sum()
            first = int(np.searchsorted(cumulative, _TAIL, side="right"))
            last = int(np.searchsorted(cumulative, 1 - _TAIL))
            return min(0.0, float(edges[first])), max(0.0, float(edges[last + 1]))
        bound = _least_divergence(counts, edges)
        return max(low, -bound), min(high, bound)

    def _of_all_channels(self, low: float, high: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights = self.histogram.astype(np.float64)
        return np.histogram(self._centres(), _TENSOR_BINS, (low, high), weights=weights)

    def _centres(self) -> NDArray[np.float32]:
        centres = ((np.arange(_BINS, dtype=np.float32) + 0.5) * 2 / _BINS - 1) * self.limit[:, None]
        # A bin's centre may lie beyond every value that is in the bin.
        return np.clip(centres, self.minimum[:, None], self.maximum[:, None])


class _Accumulator:
    """Statistics of one tensor, batch by batch. A channel's histogram doubles its range when a value lies beyond it."""

    def __init__(self, channels: int) -> None:
        self._minimum = np.zeros(channels, np.float32)
        self._maximum = np.zeros(channels, np.float32)
        self._limit = np.zeros(channels, np.float32)
        self._histogram = np.zeros((channels, _BINS), np.int64)

    def add(self, values: NDArray[np.float32]) -> None:
        rows = values.reshape(-1, values.shape[-1])
        np.minimum(self._minimum, rows.min(axis=0), out=self._minimum)
        np.maximum(self._maximum, rows.max(axis=0), out=self._maximum)
        magnitude = np.maximum(-self._minimum, self._maximum)
        unset = self._limit == 0
        # The smallest limit whose bins have a width that fp32 can divide by.
        self._limit[unset] = np.where(magnitude[unset] > 0, np.maximum(magnitude[unset], _TINY), 0)
        while (small := magnitude > self._limit).any():
            self._histogram[small] = _halved(self._histogram[small])
            self._limit[small] *= 2
        scale = np.divide(_BINS / 2, self._limit, out=np.zeros_like(self._limit), where=self._limit > 0)
        bins = np.clip(rows * scale + _BINS / 2, 0, _BINS - 1).astype(np.int64)
        bins += np.arange(len(self._limit)) * _BINS
        self._histogram += np.bincount(bins.ravel(), minlength=self._histogram.size).reshape(
            self._histogram.shape
        )

    def result(self) -> Statistics:
        return Statistics(self._minimum, self._maximum, self._limit, self._histogram)


def observe(
    graph: Path,
    names: Sequence[str],
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Statistics]:
    """Run an fp32 graph and gather statistics of some of its values.

    Args:
        graph: an ONNX file; weights files that it names lie beside it.
        names: values of the graph, [..., channels] in fp32.
        feeds: the graph's inputs, run by run; taken one at a time, so a generator keeps memory low. Runs may differ in shape.
        progress: called after each run with the number of runs done.

    Raises:
        BuildError: no feeds, a value that is not finite, or a graph that ONNX Runtime cannot load.
    """
    if not names:
        return {}
    session = tapped_session(graph, names)
    gathered: dict[str, _Accumulator] = {}
    for done, feed in enumerate(feeds, 1):
        for name, values in zip(names, session.run(list(names), dict(feed)), strict=True):
            if not np.isfinite(values).all():
                raise BuildError(
                    f"{graph.name}: '{name}' is not finite over the calibration data; the weights are damaged"
                )
            gathered.setdefault(name, _Accumulator(values.shape[-1])).add(values)
        progress(done)
    if not gathered:
        raise BuildError(
            f"{graph.name}: no calibration data; give recordings with speech, or leave the option out"
        )
    return {name: accumulator.result() for name, accumulator in gathered.items()}


def tapped_session(graph: Path, names: Sequence[str]) -> Any:
    """An ONNX Runtime session of a graph file that can give the values `names` too.

    Raises:
        BuildError: the graph has no such value, or ONNX Runtime cannot load it.
    """
    import onnxruntime

    model = ir.load(graph)
    found = {value.name: value for node in model.graph for value in node.outputs}
    outputs = {value.name for value in model.graph.outputs}
    for name in names:
        if name not in found:
            raise BuildError(f"{graph.name}: has no value '{name}' to observe")
        if name not in outputs:
            found[name].type = ir.TensorType(ir.DataType.FLOAT)
            model.graph.outputs.append(found[name])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(graph.parent)
    )
    try:
        return onnxruntime.InferenceSession(
            ir.serde.serialize_model(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's exceptions have no common base but Exception
        raise BuildError(
            f"{graph}: ONNX Runtime cannot load it ({str(error).splitlines()[0][:200]})"
        ) from None


def _halved(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    """The same counts in bins that are twice as wide."""
    pairs = histogram.reshape(len(histogram), _BINS // 2, 2).sum(axis=2)
    return np.pad(pairs, ((0, 0), (_BINS // 4, _BINS // 4)))


def _least_divergence(counts: NDArray[np.float64], edges: NDArray[np.float64]) -> float:
    """The bound of the magnitudes whose INT8 levels keep most of what the distribution says."""
    centres = np.abs((edges[:-1] + edges[1:]) / 2)
    folded, bounds = np.histogram(centres, _TENSOR_BINS, (0, centres.max()), weights=counts)
    best, least = float(bounds[-1]), np.inf
    for kept in range(_LEVELS, _TENSOR_BINS + 1, _LEVELS // 8):
        reference = folded[:kept].copy()
        reference[-1] += folded[kept:].sum()
        levels = np.arange(kept) * _LEVELS // kept
        present = folded[:kept] > 0
        mass = np.bincount(levels, weights=folded[:kept], minlength=_LEVELS)
        share = np.bincount(levels, weights=present.astype(np.float64), minlength=_LEVELS)
        quantized = np.where(present, (mass / np.maximum(share, 1))[levels], 0.0)
        divergence = _divergence(reference, quantized)
        if divergence < least:
            best, least = float(bounds[kept]), divergence
    return best


def _divergence(reference: NDArray[np.float64], quantized: NDArray[np.float64]) -> float:
    """Kullback-Leibler divergence of two histograms."""
    if not reference.sum() or not quantized.sum():
        return np.inf
    p, q = reference / reference.sum(), quantized / quantized.sum()
    # Where the quantized distribution has nothing, a value that cannot occur would make the divergence infinite.
    q = np.maximum(q, 1e-9)
    nonzero = p > 0
    return float((p[nonzero] * np.log(p[nonzero] / q[nonzero])).sum())
