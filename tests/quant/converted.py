"""Graphs of small models after a pass, as the runtime loads them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from edgewhisper.artifact import Manifest
from edgewhisper.export.model_file import load_model, save_model
from edgewhisper.export.weights import WeightsWriter
from edgewhisper.pipeline.embedding_table import locate_embedding, table_name

Pass = Callable[[ir.Model], None]


def convert(source: Path, manifest: Manifest, folder: Path, convert_graph: Pass) -> Manifest:
    """Apply a pass to both graphs of `source` and write them into `folder`; returns what the runtime needs."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = {}
    with WeightsWriter(folder / "weights.bin") as weights:
        for name, graph in manifest.graphs.items():
            model = load_model(source / graph.file)
            table = table_name(model, graph.embedding) if graph.embedding else None
            convert_graph(model)
            inputs, outputs = save_model(model, folder / graph.file, weights)
            graphs[name] = replace(graph, inputs=inputs, outputs=outputs)
            if table is not None:
                rows = locate_embedding(model, table, weights, manifest.dimensions.d_model)
                graphs[name] = replace(graphs[name], embedding=rows.values, embedding_scales=rows.scales)
    return replace(manifest, graphs=graphs)
