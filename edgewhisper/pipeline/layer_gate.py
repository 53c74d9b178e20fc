"""The gate of the layers: how far each layer of a converted graph is from its fp32 original, on calibration data."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import GraphInfo

from .calibration import CalibrationSet
from .feeds import Feed, decoder_feeds, encoder_feeds
from .passes import Converted
from .source import Source
from .taps import TappedGraph, grouped, layer_taps, value_names

if TYPE_CHECKING:
    from edgewhisper.quant.smoothing import Scaled

LOGITS = "logits"
# Layers of the encoder graph that project what leaves it.
CROSS_ATTENTION = ".encoder_attn."
# Every so many windows is compared: full ones, short ones, a cut one and silence.
_EVERY = 3
# What is compared of a window, 10 s: inner values of base's encoder over 30 s would take 160 MB, twice.
_MOST_FRAMES = 1000


@dataclass(frozen=True)
class GraphLoss:
    """How far a converted graph is from fp32.

    Attributes:
        precision: of the converted graph.
        output_error: of what leaves the graph: the projections of keys and values of the encoder, the logits of the decoder.
        layers: layer -> ||y - y32|| / ||y32|| over all windows, errors of earlier layers included, in the graph's order.
    """

    precision: str
    output_error: float
    layers: dict[str, float]


@dataclass(frozen=True)
class LayerReport:
    """The outcome of the comparison.

    Attributes:
        graphs: name -> loss. The decoder is compared over the converted encoder's keys and values.
        same_tokens: share of the positions at which the decoder's likeliest token is that of fp32.
        positions: how many were compared.
    """

    graphs: dict[str, GraphLoss]
    same_tokens: float
    positions: int


@dataclass
class _Sums:
    """Squared norms of differences and of fp32 values, per layer."""

    difference: dict[str, float] = field(default_factory=dict)
    reference: dict[str, float] = field(default_factory=dict)
    same: int = 0
    positions: int = 0

    def add(self, layer: str, value: NDArray[Any], reference: NDArray[Any]) -> None:
        value, reference = value.astype(np.float32, copy=False), reference.astype(np.float32, copy=False)
        self.difference[layer] = self.difference.get(layer, 0.0) + _squared_norm(value - reference)
        self.reference[layer] = self.reference.get(layer, 0.0) + _squared_norm(reference)
        if layer == LOGITS:
            same = value.argmax(-1) == reference.argmax(-1)
            self.same += int(same.sum())
            self.positions += same.size

    def errors(self) -> dict[str, float]:
        return {
            layer: float(np.sqrt(difference / max(self.reference[layer], np.finfo(float).tiny)))
            for layer, difference in self.difference.items()
        }


def compare_layers(
    source: Source,
    converted: Converted,
    folder: Path,
    calibration: CalibrationSet,
    progress: Callable[[float], None],
) -> LayerReport:
    """Run original and converted graphs on the same data and compare what their layers compute.

    Args:
        source: the fp32 graphs.
        converted: the converted ones, in `folder`.
        folder: where they are.
        calibration: what they are run on; a part of it.
        progress: told how much is done, from 0 to 1.
    """
    part = CalibrationSet(calibration.windows[::_EVERY], calibration.sequences[::_EVERY], calibration.sha256)
    count, graphs = len(part.windows), converted.graphs
    encoder = _compare(
        source, folder, graphs["encoder"], converted.scaled["encoder"], ((feed, feed) for feed in encoder_feeds(part, _MOST_FRAMES)),
        rows=_MOST_FRAMES // 2,
        progress=lambda done: progress(done / count / 2),
    )  # fmt: skip
    decoder = _compare(
        source, folder, graphs["decoder"], converted.scaled["decoder"],
        zip(
            decoder_feeds(source.folder, source.manifest(), part),
            decoder_feeds(folder, source.manifest(graphs), part),
            strict=True,
        ),
        rows=max(map(len, part.sequences)),
        progress=lambda done: progress(0.5 + done / count / 2),
    )  # fmt: skip
    return LayerReport(
        {
            "encoder": _loss(graphs["encoder"], encoder, CROSS_ATTENTION),
            "decoder": _loss(graphs["decoder"], decoder, LOGITS),
        },
        decoder.same / max(1, decoder.positions),
        decoder.positions,
    )


def _compare(
    source: Source,
    folder: Path,
    graph: GraphInfo,
    scaled: "Mapping[str, Scaled]",
    feeds: Iterable[tuple[Feed, Feed]],
    rows: int,
    progress: Callable[[int], None],
) -> _Sums:
    from edgewhisper.export.model_file import load_model

    known = value_names(load_model(folder / graph.file))
    names = {value: of.name for value, of in scaled.items()}
    found = layer_taps(load_model(source.folder / graph.file))
    taps = [tap for tap in found if names.get(tap.value, tap.value) in known]
    original = TappedGraph(source.folder / graph.file, [tap.value for tap in taps], repack=False)
    converted = TappedGraph(
        folder / graph.file, [names.get(tap.value, tap.value) for tap in taps], repack=True
    )
    groups = list(grouped(taps, rows))
    sums = _Sums()
    for done, (feed, converted_feed) in enumerate(feeds, 1):
        for group in groups:
            references = original.run(feed, [tap.value for tap in group])
            values = converted.run(converted_feed, [names.get(tap.value, tap.value) for tap in group])
            for tap, reference, value in zip(group, references, values, strict=True):
                if tap.value in scaled:
                    value = value / scaled[tap.value].factors
                sums.add(LOGITS if tap.value == LOGITS else tap.layer, value, reference)
        progress(done)
    return sums


def _loss(graph: GraphInfo, sums: _Sums, outputs: str) -> GraphLoss:
    errors = sums.errors()
    leaving = [error for layer, error in errors.items() if outputs in layer]
    # NumPy's maximum, as Python's may overlook what is not a number.
    return GraphLoss(graph.precision, float(np.max(leaving, initial=0.0)), errors)


def _squared_norm(values: NDArray[np.float32]) -> float:
    flat = values.ravel()
    return float(np.dot(flat, flat))
