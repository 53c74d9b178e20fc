"""A checkpoint's graphs, written into a folder."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgewhisper import __version__
from edgewhisper.artifact import GraphInfo
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft, with_draft

from .builder import OPSET, GraphBuilder
from .decoder import TABLE, build_decoder, draft_parts
from .encoder import build_encoder
from .model_file import write_model
from .portable import lower
from .weights import WeightsWriter

WEIGHTS_FILE = "weights.bin"
# The oldest release that graphs are tested with; OpenVINO's builds of ONNX Runtime, which take portable ones, are older.
MIN_ONNXRUNTIME = {"fused": "1.24.4", "portable": "1.23.0"}


def export_graphs(
    checkpoint: Checkpoint,
    folder: Path,
    ops: Literal["fused", "portable"] = "fused",
    draft: Draft | None = None,
) -> dict[str, GraphInfo]:
    """Write encoder.onnx, decoder.onnx, with a draft draft.onnx, and the weights file they map.

    Args:
        checkpoint: the model.
        folder: exists.
        ops: "fused" with ONNX Runtime's contrib operators, or "portable" with those of the ONNX standard alone.
        draft: what proposes tokens; None: nothing does.

    Raises:
        OSError: the folder cannot be written.
    """
    with WeightsWriter(folder / WEIGHTS_FILE) as weights:

        def write(name: str, kind: str, graph: GraphBuilder) -> GraphInfo:
            model = graph.model(__version__)
            if ops == "portable":
                lower(model)
            inputs, outputs = write_model(model, folder / f"{name}.onnx")
            return GraphInfo(
                f"{name}.onnx",
                kind,
                "fp32",
                ops,
                OPSET,
                inputs,
                outputs,
                (WEIGHTS_FILE,),
                MIN_ONNXRUNTIME[ops],
            )

        encoder = write("encoder", "encoder", build_encoder(checkpoint, weights))
        decoder = write("decoder", "decoder", build_decoder(checkpoint, weights))
        graphs = {"encoder": encoder, "decoder": replace(decoder, embedding=weights.location(TABLE))}
        if draft is not None:
            parts = draft_parts(draft.info.layers, draft.info.cross_layers)
            info = write("draft", "step", build_decoder(with_draft(checkpoint, draft), weights, parts))
            graphs["draft"] = replace(info, embedding=weights.location(TABLE), head_tokens=draft.info.tokens)
        return graphs
