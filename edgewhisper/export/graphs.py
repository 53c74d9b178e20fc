"""A checkpoint's graphs, written into a folder."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgewhisper import __version__
from edgewhisper.artifact import HEADS, STEP, GraphInfo
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft, with_draft

from .builder import OPSET, GraphBuilder
from .decoder import TABLE, build_decoder, draft_parts, main_parts
from .encoder import build_encoder
from .heads import build_heads
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
    gives_hidden: bool = False,
) -> dict[str, GraphInfo]:
    """Write encoder.onnx, decoder.onnx, with a draft draft.onnx, and the weights file they map.

    Args:
        checkpoint: the model.
        folder: exists.
        ops: "fused" with ONNX Runtime's contrib operators, or "portable" with those of the ONNX standard alone.
        draft: what proposes tokens; None: nothing does.
        gives_hidden: whether the decoder has the output "hidden" even where no draft reads it.

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
        hidden = gives_hidden or (draft is not None and draft.info.kind == "heads")
        parts = replace(main_parts(checkpoint), gives_hidden=hidden)
        decoder = write("decoder", "decoder", build_decoder(checkpoint, weights, parts))
        graphs = {"encoder": encoder, "decoder": replace(decoder, embedding=weights.location(TABLE))}
        if draft is not None:
            joined, info = with_draft(checkpoint, draft), draft.info
            if info.kind == "heads":
                written = write("draft", HEADS, build_heads(joined, info.cross_layers[0], weights))
            else:
                parts = draft_parts(info.layers, info.cross_layers)
                written = write("draft", STEP, build_decoder(joined, weights, parts))
            graphs["draft"] = replace(written, embedding=weights.location(TABLE), head_tokens=info.tokens)
        return graphs
