"""A checkpoint's graphs, written into a folder."""

from dataclasses import replace
from pathlib import Path

from edgewhisper import __version__
from edgewhisper.artifact import GraphInfo
from edgewhisper.models.checkpoint import Checkpoint

from .builder import OPSET, GraphBuilder
from .decoder import TABLE, build_decoder
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
    with WeightsWriter(folder / WEIGHTS_FILE) as weights:
        encoder = _write("encoder", build_encoder(checkpoint, weights), folder)
        decoder = _write("decoder", build_decoder(checkpoint, weights), folder)
        return {"encoder": encoder, "decoder": replace(decoder, embedding=weights.location(TABLE))}


def _write(kind: str, graph: GraphBuilder, folder: Path) -> GraphInfo:
    file = f"{kind}.onnx"
    inputs, outputs = graph.save(folder / file, __version__)
    return GraphInfo(file, kind, "fp32", "fused", OPSET, inputs, outputs, (WEIGHTS_FILE,), MIN_ONNXRUNTIME)
