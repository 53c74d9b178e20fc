"""An inspection as text for a terminal."""

from collections.abc import Sequence

from edgewhisper.artifact import Manifest, RewriteInfo, TensorInfo

from .gate import GateReport
from .inspect import GraphInspection, Inspection
from .measurements import Measurements, Pruning

# Layers that lose most, of each graph.
_SHOWN_LAYERS = 5


def format_inspection(inspection: Inspection) -> str:
    """The inspection as text for a terminal."""
    manifest = inspection.manifest
    sections = [
        _section(inspection.folder, _model_lines(manifest)),
        _section("tokens", _token_lines(manifest)),
        _section(
            "files",
            [
                (info.name, f"{_size(info.size)}  sha256 {info.sha256[:16]} verified")
                for info in manifest.files
            ],
        ),
        *(_section(f"graph {name}", _graph_lines(graph)) for name, graph in inspection.graphs.items()),
        _section("measured at build time", _measured_lines(inspection.measurements)),
    ]
    return "\n\n".join(sections)


Lines = Sequence[tuple[str, str]]


def _section(title: str, lines: Lines) -> str:
    width = max(len(key) for key, _ in lines) + 2
    return "\n".join([title, *(f"  {key:{width}}{value}" for key, value in lines)])


def _model_lines(manifest: Manifest) -> Lines:
    model, dims, build = manifest.model, manifest.dimensions, manifest.build
    weights = (
        "random, for measurements only" if model.random_weights else f"sha256 {model.checkpoint_sha256[:16]}"
    )
    measured = "measured" if model.short_windows else "not measured"
    seconds = manifest.audio.n_frames * manifest.audio.hop_length / manifest.audio.sample_rate
    return [
        ("model", f"{model.name} from {model.source}, licence {model.licence or 'not stated'}"),
        ("weights", weights),
        ("encoder", f"{dims.encoder_layers} layers, {dims.encoder_heads} heads, width {dims.d_model}"),
        (
            "decoder",
            f"{dims.decoder_layers} layers, {dims.decoder_heads} heads, at most {dims.max_target_positions} tokens",
        ),
        (
            "audio",
            f"{dims.n_mels} mel bins, windows of {seconds:g} s; error rates with shorter ones {measured}",
        ),
        ("size", _size(sum(info.size for info in manifest.files))),
        ("format", f"{manifest.format_version}, target {build.target}"),
        ("options", ", ".join(f"{key} {value}" for key, value in sorted(build.options.items()))),
        ("built with", ", ".join(f"{key} {value}" for key, value in sorted(build.versions.items()))),
    ]


def _token_lines(manifest: Manifest) -> Lines:
    tokens = manifest.tokens
    special = {
        "end of text": tokens.end_of_text,
        "start of transcript": tokens.start_of_transcript,
        "transcribe": tokens.transcribe,
        "translate": tokens.translate,
        "start of previous": tokens.start_of_previous,
        "no speech": tokens.no_speech,
        "no timestamps": tokens.no_timestamps,
        "first timestamp": tokens.timestamp_begin,
    }
    languages = ", ".join(tokens.languages) if len(tokens.languages) <= 8 else str(len(tokens.languages))
    return [
        ("vocabulary", str(manifest.dimensions.vocab_size)),
        *((name, "-" if token is None else str(token)) for name, token in special.items()),
        ("languages", languages or "English only"),
        ("suppressed", f"{len(tokens.suppress)}, at the beginning {len(tokens.begin_suppress)}"),
        ("alignment heads", " ".join(f"{layer}.{head}" for layer, head in tokens.alignment_heads) or "-"),
    ]


def _graph_lines(graph: GraphInspection) -> Lines:
    info = graph.info
    operators = "unknown: the package onnx is not installed"
    if graph.operators is not None:
        counted = ", ".join(f"{name} {count}" for name, count in graph.operators.items())
        operators = f"{sum(graph.operators.values())} nodes: {counted}"
    lines = [
        ("file", f"{info.file}, {_size(graph.size)}, weights in {', '.join(info.weights)}"),
        ("precision", f"{info.precision}, {info.ops} operators"),
        ("needs", f"ONNX Runtime {info.min_onnxruntime}, opset {info.opset}"),
        ("operators", operators),
    ]
    if graph.nodes_by_provider is not None:
        total = sum(graph.nodes_by_provider.values())
        placed = ", ".join(f"{name} {count} of {total}" for name, count in graph.nodes_by_provider.items())
        lines.append(("nodes run by", placed))
    lines += [_rewrite_line(rewrite) for rewrite in info.rewrites]
    return [*lines, *_tensor_lines("input", info.inputs), *_tensor_lines("output", info.outputs)]


def _tensor_lines(kind: str, tensors: Sequence[TensorInfo]) -> Lines:
    """A line for each tensor, but one for all layers of a cache, whose names end in the layer's number."""
    groups: dict[tuple[str, str, tuple[int | str, ...]], list[TensorInfo]] = {}
    for tensor in tensors:
        groups.setdefault(_line_key(tensor), []).append(tensor)
    lines = []
    for first, *others in groups.values():
        name = f"{first.name} to {others[-1].name} ({1 + len(others)})" if others else first.name
        lines.append((kind, f"{name} {first.dtype} [{', '.join(map(str, first.shape))}]"))
    return lines


def _line_key(tensor: TensorInfo) -> tuple[str, str, tuple[int | str, ...]]:
    name = "layers" if tensor.name[-1:].isdigit() else tensor.name
    return name, tensor.dtype, tensor.shape


def _measured_lines(measurements: Measurements | None) -> Lines:
    if measurements is None:
        return [("nothing", "no measured.json beside the manifest")]
    lines: list[tuple[str, str]] = []
    if measurements.parity is None:
        lines.append(("parity", "not checked"))
    else:
        parity = measurements.parity
        versions = ", ".join(f"{package} {version}" for package, version in parity.versions.items())
        lines.append(("parity", f"relative error, at most {parity.tolerance:.0e} ({versions})"))
        for graph, comparisons in parity.graphs.items():
            for kind, found in comparisons.items():
                same = f", argmax differs in {found.argmax_differences} of {found.rows}" if found.rows else ""
                lines.append((f"{graph} {kind}", f"{found.relative_error:.1e}{same}"))
    lines += _gate_lines(measurements.gate, pruned=measurements.pruning is not None)
    if (times := measurements.convolutions) is not None:
        lines.append(
            (
                "convolutions",
                f"{times.method} in {times.precision}: {times.milliseconds:.1f} ms a window, "
                f"ONNX Runtime's in fp32 {times.conv_milliseconds:.1f} ms",
            )
        )
    lines += _pruning_lines(measurements.pruning)
    lines += [(f"time to {step}", f"{seconds:.2f} s") for step, seconds in measurements.seconds.items()]
    return lines


def _rewrite_line(rewrite: RewriteInfo) -> tuple[str, str]:
    parts = [f"{rewrite.node}: {rewrite.method}"]
    if rewrite.macs_before:
        parts.append(f"{rewrite.macs_before / 1e6:.0f} to {rewrite.macs_after / 1e6:.0f} million products")
    if rewrite.error is not None:
        parts.append(f"error {rewrite.error:.1e}")
    return "rewrite", ", ".join([*parts, *filter(None, [rewrite.reason])])


def _gate_lines(gate: GateReport | None, *, pruned: bool) -> list[tuple[str, str]]:
    if gate is None:
        return []
    lines = [
        (
            f"{refusal.graph} in {refusal.precision}",
            f"refused, {refusal.replaced_by or 'nothing'} instead: {refusal.reason}",
        )
        for refusal in gate.refusals
    ]
    if gate.layers is not None:
        for name, loss in gate.layers.graphs.items():
            lines.append(
                (
                    f"{name} {loss.precision}",
                    f"{loss.output_error:.1e} from fp32 at its end (relative error, at most {gate.layer_bound:g}); the worst layers:",
                )
            )
            worst = sorted(loss.layers.items(), key=lambda item: -item[1])[:_SHOWN_LAYERS]
            lines += [(f"  {layer}", f"{error:.1e}") for layer, error in worst]
        lines.append(
            (
                "likeliest token",
                f"that of fp32 at {100 * gate.layers.same_tokens:.1f} % of {gate.layers.positions} positions",
            )
        )
    if gate.text is not None:
        text = gate.text
        original = "in fp32 before pruning" if pruned else "in fp32"
        lines += [
            (
                "WER",
                f"{100 * text.converted.wer:.2f} %, {original} {100 * text.fp32.wer:.2f} % ({text.words} words)",
            ),
            ("CER", f"{100 * text.converted.cer:.2f} %, {original} {100 * text.fp32.cer:.2f} %"),
            ("same tokens", f"{100 * text.same_tokens:.1f} % of those {original}"),
        ]
    if gate.steps is not None:
        steps = gate.steps
        lines.append(
            (
                "steps of several tokens",
                f"differ from single ones in {steps.differing} of {steps.rows} rows, by at most "
                f"{steps.largest_difference:.1e}; another token in {steps.other_tokens}",
            )
        )
    return lines


def _pruning_lines(pruning: Pruning | None) -> list[tuple[str, str]]:
    if pruning is None:
        return []
    lines = []
    if (vocabulary := pruning.vocabulary) is not None:
        lines.append(("vocabulary", f"{vocabulary.tokens_after} of {vocabulary.tokens_before} tokens kept"))
    if (structure := pruning.structure) is not None:
        reports = (("heads", structure.heads), ("feed-forward units", structure.feed_forward))
        lines += [(name, f"{report.after} of {report.before} kept") for name, report in reports if report]
        if (cost := structure.cost) is not None:
            lines.append(
                (
                    "cost of pruning",
                    f"logits {cost.logits_error:.1e} from the whole model's, the likeliest token the same at "
                    f"{100 * cost.same_tokens:.1f} % of {cost.positions} positions",
                )
            )
    return lines


def _size(size: int) -> str:
    """Bytes for people: "37 kB", "18.7 MB"."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 0.1):.1f} kB"
