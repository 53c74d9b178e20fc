"""A checkpoint's graphs, written into a folder."""

from pathlib import Path

from edgewhisper import __version__
from edgewhisper.artifact import GraphInfo
from edgewhisper.models.checkpoint import Checkpoint

from .builder import OPSET
from .decoder import build_decoder
from .encoder import build_encoder
from .weights import WeightsWriter

WEIGHTS_FILE = "weights.bin"
# The oldest release that every graph is tested with.
MIN_ONNXRUNTIME = "1.24.4"


def export_graphs(checkpoint: Checkpoint, folder: Path) -> dict[str, GraphInfo]:
    """Write encoder.onnx, decoder.onnx and the weights file they map.

    Raises:
        OSError: the folder cannot be written.
    """
    graphs = {}
    with WeightsWriter(folder / WEIGHTS_FILE) as weights:
        for kind, build in (("encoder", build_encoder), ("decoder", build_decoder)):
            graph = build(checkpoint, weights)
            file = f"{kind}.onnx"
            inputs, outputs = graph.save(folder / file, __version__)
            graphs[kind] = GraphInfo(
                file, kind, "fp32", "fused", OPSET, inputs, outputs, (WEIGHTS_FILE,), MIN_ONNXRUNTIME
            )
    return graphs
