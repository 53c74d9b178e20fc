"""A checkpoint's graphs, written into a folder."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgewhisper import __version__
from edgewhisper.artifact import HEADS, STEP, GraphInfo, TensorLocation
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import HEAD, PREFIX, Draft, with_draft, with_head

from .builder import OPSET, GraphBuilder
from .decoder import TABLE, build_decoder, draft_parts, main_parts, own_or_main
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
    scored: tuple[int, ...] | None = None,
    gives_encoded: bool = False,
) -> dict[str, GraphInfo]:
    """Write encoder.onnx, decoder.onnx, with a draft draft.onnx, and the weights file they map.

    Args:
        checkpoint: the model.
        folder: exists.
        ops: "fused" with ONNX Runtime's contrib operators, or "portable" with those of the ONNX standard alone.
        draft: what proposes tokens; None: nothing does.
        gives_hidden: whether the decoder has the output "hidden" even where no draft reads it.
        gives_encoded: whether the encoder has the output "hidden".
        scored: the only tokens that the decoder scores, of a model that proposes them for another; None: all.

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

        def table(of: Checkpoint, name: str) -> TensorLocation:
            """Where an embedding lies; written where no output head is the same."""
            weights.tensor(name, lambda: np.asarray(of.tensors[name], np.float32))
            return weights.location(name)

        joined = checkpoint if draft is None else with_draft(checkpoint, draft)
        encoder = write(
            "encoder",
            "encoder",
            build_encoder(joined, weights, _own_attentions(joined, draft), gives_encoded),
        )
        hidden = gives_hidden or (draft is not None and draft.info.kind == "heads")
        parts = replace(main_parts(checkpoint), gives_hidden=hidden)
        main = checkpoint
        if scored is not None and len(scored) < checkpoint.dimensions.vocab_size:
            main, parts = with_head(checkpoint, scored), replace(parts, head=HEAD)
        decoder = write("decoder", "decoder", build_decoder(main, weights, parts))
        decoder = replace(decoder, embedding=table(checkpoint, TABLE), head_tokens=scored)
        graphs = {"encoder": encoder, "decoder": decoder}
        if draft is not None:
            info = draft.info
            if info.kind == "heads":
                written = write("draft", HEADS, build_heads(joined, info.cross_layers[0], weights))
            else:
                written = write("draft", STEP, build_decoder(joined, weights, draft_parts(joined, info)))
            embedding = table(joined, own_or_main(joined, "embed_tokens.weight"))
            every = len(info.tokens) == checkpoint.dimensions.vocab_size
            graphs["draft"] = replace(
                written, embedding=embedding, head_tokens=None if every else info.tokens
            )
        return graphs


def _own_attentions(checkpoint: Checkpoint, draft: Draft | None) -> tuple[str, ...]:
    """The cross-attentions of a draft that has projections to keys and values of its own, in the order in which it counts them."""
    own: dict[int, str] = {}
    for layer, number in enumerate(() if draft is None else draft.info.cross_layers):
        if number >= checkpoint.dimensions.decoder_layers:
            own[number] = f"{PREFIX}layers.{layer}.encoder_attn"
    return tuple(own[number] for number in sorted(own))
