"""The passes that turn fp32 graphs into smaller and faster ones, in the order in which they apply."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgewhisper.artifact import GraphInfo, RewriteInfo
from edgewhisper.errors import MissingDependencyError
from edgewhisper.quant.targets import number_formats

from .embedding_table import locate_embedding, table_name
from .options import BuildOptions, Plan, Precision
from .source import Source

if TYPE_CHECKING:
    import onnx_ir as ir

WEIGHTS_FILE = "weights.bin"
WEIGHT_BITS: Mapping[Precision, int] = {"int8-weight": 8, "int4": 4}


def convert_graphs(
    source: Source, plan: Plan, options: BuildOptions, statistics: Mapping[str, Any], folder: Path
) -> dict[str, GraphInfo]:
    """Write the source's graphs into `folder`, in the plan's precisions.

    Args:
        source: the fp32 graphs.
        plan: precisions and target.
        options: Winograd, block sizes and rounding.
        statistics: value -> what was observed of it, for static INT8.
        folder: where they go, with one weights file.

    Raises:
        BuildError: a pass cannot be applied.
        MissingDependencyError: a package that reading graphs needs.
    """
    try:
        from edgewhisper.export.model_file import load_model, save_model
        from edgewhisper.export.weights import WeightsWriter
    except ImportError as error:
        raise MissingDependencyError(
            f"a build needs the package '{error.name}'; run 'pip install edgewhisper[build]'"
        ) from None
    models = {name: load_model(source.folder / graph.file) for name, graph in source.graphs.items()}
    tables = {
        name: table_name(models[name], graph.embedding)
        for name, graph in source.graphs.items()
        if graph.embedding is not None
    }
    rewrites: tuple[RewriteInfo, ...] = ()
    precisions = {"encoder": plan.encoder, "decoder": plan.decoder}
    for name, model in models.items():
        _quantize(model, precisions[name], plan, options, statistics)
    graphs = {}
    with WeightsWriter(folder / WEIGHTS_FILE) as weights:
        for name, model in models.items():
            info = source.graphs[name]
            inputs, outputs = save_model(model, folder / info.file, weights)
            graphs[name] = replace(
                info,
                precision=precisions[name],
                opset=model.graph.opset_imports[""],
                inputs=inputs,
                outputs=outputs,
                weights=(weights.name,),
            )
            if name in tables:
                table = locate_embedding(model, tables[name], weights, source.dimensions.d_model)
                graphs[name] = replace(graphs[name], embedding=table.values, embedding_scales=table.scales)
    rewrites = (*source.graphs["encoder"].rewrites, *rewrites)
    return graphs | {"encoder": replace(graphs["encoder"], rewrites=rewrites)}


def _quantize(
    model: "ir.Model", precision: Precision, plan: Plan, options: BuildOptions, statistics: Mapping[str, Any]
) -> None:
    """Bring one graph into a precision, in place."""
    match precision:
        case "fp32":
            return
        case "fp16":
            from edgewhisper.quant.half import convert_to_fp16

            convert_to_fp16(model, plan.target)
        case "int8-dynamic":
            from edgewhisper.quant.dynamic import quantize_dynamic

            quantize_dynamic(model, number_formats(plan.target))
        case "int8":
            from edgewhisper.quant.static import StaticOptions, quantize_static

            static = StaticOptions(range_method=options.calibration_method)
            quantize_static(model, statistics, number_formats(plan.target), static)
        case "int8-weight" | "int4":
            from edgewhisper.quant.weight_only import WeightOnlyOptions, quantize_weights

            bits = WEIGHT_BITS[precision]
            quantize_weights(model, WeightOnlyOptions(bits, options.block_size, options.weight_method))
