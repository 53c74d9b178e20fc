"""The passes that turn fp32 graphs into smaller and faster ones, in the order in which they apply."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgewhisper.artifact import GraphInfo, RewriteInfo
from edgewhisper.errors import MissingDependencyError
from edgewhisper.quant.targets import number_formats

from .embedding_table import EmbeddingLocations, locate_embedding, table_name, write_embedding
from .options import (
    BLOCK_SIZE,
    CALIBRATION_METHOD,
    WEIGHT_METHOD,
    BuildOptions,
    Plan,
    Precision,
    has_int8_self_kv,
)
from .source import Source

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgewhisper.quant.calibration import Statistics
    from edgewhisper.quant.smoothing import Scaled

WEIGHTS_FILE = "weights.bin"
DRAFT = "draft"
_STORED_LATER = "rewritten for fp32, stored in fp16"
WEIGHT_BITS: Mapping[Precision, int] = {"int8-weight": 8, "int4": 4}


Observed = Mapping[str, "Mapping[str, Statistics]"]
"""What was observed of the fp32 graphs over calibration data: graph -> value -> statistics."""


@dataclass(frozen=True)
class Converted:
    """Graphs that were written.

    Attributes:
        graphs: name -> what the manifest says of it.
        scaled: graph -> name in the fp32 graph -> values that are multiplied by factors now.
    """

    graphs: dict[str, GraphInfo]
    scaled: "Mapping[str, Mapping[str, Scaled]]"


def values_to_observe(source: Source, plan: Plan, options: BuildOptions) -> dict[str, list[str]]:
    """Graph -> its values whose statistics the passes of a plan need."""
    from edgewhisper.export.model_file import load_model
    from edgewhisper.quant import cross_attention, self_kv, static

    found = {}
    for name, graph in source.graphs.items():
        model, values = load_model(source.folder / graph.file), list[str]()
        if plan.has_int8_cross_kv:
            observe = (
                cross_attention.encoder_values_to_observe
                if name == "encoder"
                else cross_attention.decoder_values_to_observe
            )
            values += observe(model)
        if name != "encoder" and plan.decoder == "int8":
            values += static.inputs_to_observe(model)
        if name != "encoder" and has_int8_self_kv(plan, options):
            values += self_kv.values_to_observe(model)
        found[name] = list(dict.fromkeys(values))
    return found


def convert_graphs(
    source: Source,
    plan: Plan,
    options: BuildOptions,
    observed: Observed,
    folder: Path,
    files: Mapping[str, str] | None = None,
) -> Converted:
    """Write the source's graphs into `folder`, in the plan's precisions.

    Args:
        source: the fp32 graphs.
        plan: precisions and target.
        options: Winograd, block sizes and rounding.
        observed: statistics of the values that `values_to_observe` names.
        folder: where they go, with one weights file.
        files: names of the files there, by graph, and "weights"; None: the usual ones.

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
    files = files or {"weights": WEIGHTS_FILE, **{name: graph.file for name, graph in source.graphs.items()}}
    # By which name which graph has an embedding that an output head is.
    tables = {
        name: (user, found)
        for name, graph in source.graphs.items()
        for user in source.graphs
        if graph.embedding and (found := table_name(models[user], graph.embedding))
    }
    # A draft is quantized like the decoder whose tokens it guesses.
    precisions = {name: plan.encoder if name == "encoder" else plan.decoder for name in models}
    statistics = {name: observed.get(name, {}) for name in models}
    scaled: dict[str, dict[str, Scaled]] = {name: {} for name in models}
    if plan.has_int8_cross_kv:
        from edgewhisper.quant.cross_kv import quantize_cross_kv, read_cross_kv

        formats = number_formats(plan.target)
        cross = quantize_cross_kv(
            models["encoder"], models["decoder"], statistics["encoder"], statistics["decoder"], formats,
            models.get(DRAFT), statistics.get(DRAFT),
        )  # fmt: skip
        statistics["decoder"] = cross.statistics
        scaled |= {"encoder": cross.encoder, "decoder": cross.decoder}
        if DRAFT in models:
            read = read_cross_kv(models[DRAFT], cross.scales, statistics[DRAFT], formats)
            statistics[DRAFT], scaled[DRAFT] = read
    earlier = source.graphs["encoder"].rewrites
    kept = _rewritten_nodes(models["encoder"], earlier)
    if plan.encoder == "fp16":
        earlier = tuple(replace(info, error=None, reason=_STORED_LATER) for info in earlier)
    rewrites: tuple[RewriteInfo, ...] = ()
    if plan.encoder == "fp16":  # before its weights are behind casts
        rewrites = _rewrite_convolutions(models["encoder"], plan, options)
    self_values = {}
    if has_int8_self_kv(plan, options):
        from edgewhisper.quant import self_kv

        self_values = {
            name: self_kv.values_to_observe(model) for name, model in models.items() if name != "encoder"
        }
    for name, model in models.items():
        scaled[name] |= _quantize(model, precisions[name], plan, options, statistics[name], kept)
    # Else after, as its products choose their own precision and are no linear layers to quantize.
    if plan.encoder != "fp16":
        rewrites = _rewrite_convolutions(models["encoder"], plan, options)
    if plan.target == "arm64" and plan.is_converted and options.ops == "fused":
        from edgewhisper.export.attention import attend_in_pieces

        attend_in_pieces(models["encoder"])
    for name, values in self_values.items():
        self_kv.quantize_self_kv(models[name], values, observed[name], scaled[name])
    graphs = {}
    with WeightsWriter(folder / files["weights"]) as weights:
        for name, model in models.items():
            info = source.graphs[name]
            inputs, outputs = save_model(model, folder / files[name], weights)
            graphs[name] = replace(
                info,
                file=files[name],
                precision=precisions[name],
                opset=model.graph.opset_imports[""],
                inputs=inputs,
                outputs=outputs,
                weights=(weights.name,),
            )
            if name in self_values:
                graphs[name] = replace(graphs[name], min_onnxruntime=self_kv.MIN_ONNXRUNTIME)
        for name, info in source.graphs.items():
            if info.embedding is None:
                continue
            place: EmbeddingLocations
            if name in tables:
                user, table = tables[name]
                place = locate_embedding(models[user], table, weights, info.embedding.shape[1])
            else:
                place = write_embedding(source.folder, info.embedding, precisions[name], weights)
            graphs[name] = replace(graphs[name], embedding=place.values, embedding_scales=place.scales)
    graphs["encoder"] = replace(graphs["encoder"], rewrites=(*earlier, *rewrites))
    return Converted(graphs, scaled)


def _rewritten_nodes(model: "ir.Model", rewrites: Iterable[RewriteInfo]) -> "frozenset[ir.Node]":
    """What the products of convolutions that were rewritten for fp32 are made of: transforms for fp32, too coarse in INT8."""
    prefixes = tuple(f"{info.node}." for info in rewrites if info.method != "none")
    return frozenset(node for node in model.graph if (node.name or "").startswith(prefixes))


def _rewrite_convolutions(model: "ir.Model", plan: Plan, options: BuildOptions) -> tuple[RewriteInfo, ...]:
    """Winograd, in the encoder's precision: INT8 where its other products are; portable graphs keep their convolutions."""
    if options.ops == "portable" or options.winograd == "off":
        return ()
    from edgewhisper.export.winograd import rewrite
    from edgewhisper.export.winograd.choice import read_table

    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    if plan.encoder == "fp16":
        precision = "fp16"
    if plan.encoder == "int8-dynamic":
        precision = "int8"
    table = None if options.winograd_table is None else read_table(options.winograd_table)
    return rewrite(model, options.winograd, plan.target, precision, table)


def _quantize(
    model: "ir.Model",
    precision: Precision,
    plan: Plan,
    options: BuildOptions,
    statistics: "Mapping[str, Statistics]",
    kept: "frozenset[ir.Node]",
) -> "Mapping[str, Scaled]":
    """Bring one graph into a precision, in place; nodes in `kept` stay in fp32. Returns what smoothing has scaled."""
    match precision:
        case "fp32":
            pass
        case "fp16":
            from edgewhisper.quant.half import convert_to_fp16

            convert_to_fp16(model, plan.target)
        case "int8-dynamic":
            from edgewhisper.quant.dynamic import quantize_dynamic

            quantize_dynamic(model, number_formats(plan.target), kept)
        case "int8":
            from edgewhisper.quant.static import StaticOptions, quantize_static

            static = StaticOptions(range_method=options.calibration_method or CALIBRATION_METHOD)
            return quantize_static(model, statistics, number_formats(plan.target), static)
        case "int8-weight" | "int4":
            from edgewhisper.quant.weight_only import WeightOnlyOptions, quantize_weights

            bits = WEIGHT_BITS[precision]
            block_size, method = options.block_size or BLOCK_SIZE, options.weight_method or WEIGHT_METHOD
            quantize_weights(model, WeightOnlyOptions(bits, block_size, method, table_bits=bits), kept)
    return {}
