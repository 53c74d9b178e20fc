"""What an artifact holds, and how many of its nodes an execution provider takes."""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import GraphInfo, Manifest, TensorInfo, load_manifest, verify_file
from edgewhisper.errors import ArtifactError
from edgewhisper.runtime.session import PROVIDERS, SessionSettings, create_session, nodes_by_provider

from .measurements import Measurements, read_measurements


@dataclass(frozen=True)
class GraphInspection:
    """One graph of an artifact.

    Attributes:
        info: the manifest's entry.
        size: bytes of the graph file, without the weights that it maps.
        operators: operator -> number of nodes, contrib operators as "com.microsoft.Name"; None where the package onnx is
            not installed.
        nodes_by_provider: provider -> nodes it runs here, after ONNX Runtime's own rewrites; None where not asked for.
    """

    info: GraphInfo
    size: int
    operators: dict[str, int] | None
    nodes_by_provider: dict[str, int] | None


@dataclass(frozen=True)
class Inspection:
    """An artifact: its manifest, its graphs, and what was measured when it was built."""

    folder: str
    manifest: Manifest
    graphs: dict[str, GraphInspection]
    measurements: Measurements | None

    def to_json(self) -> str:
        """Everything, as indented JSON."""
        return json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False)


def inspect(folder: str | Path, provider: str | None = None) -> Inspection:
    """Inspect an artifact; every file is compared with its checksum.

    Args:
        folder: the artifact.
        provider: a name of `runtime.session.PROVIDERS`: load every graph with it and count the nodes that it takes.

    Raises:
        ArtifactError: not an artifact, or damaged (a wrong checksum: IntegrityError).
        UsageError: an unknown provider.
        ProviderError: a provider that is absent here or takes no node.
        MissingDependencyError: a provider was named, and ONNX Runtime is not installed.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    for info in manifest.files:
        verify_file(folder, info)
    graphs = {
        name: GraphInspection(
            info=info,
            size=(folder / info.file).stat().st_size,
            operators=_count_operators(folder / info.file),
            nodes_by_provider=_place_nodes(folder, info, provider) if provider else None,
        )
        for name, info in manifest.graphs.items()
    }
    return Inspection(str(folder), manifest, graphs, read_measurements(folder))


def _count_operators(path: Path) -> dict[str, int] | None:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        return None
    try:
        nodes = onnx.load_model(path, load_external_data=False).graph.node
    except DecodeError:
        raise ArtifactError(f"{path}: damaged, not an ONNX graph; build or copy the artifact again") from None
    counts = Counter(f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in nodes)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _place_nodes(folder: Path, info: GraphInfo, provider: str) -> dict[str, int]:
    session = create_session(folder, info, SessionSettings(provider=provider))
    short = {full: name for name, full in PROVIDERS.items()}
    return {short.get(name, name): count for name, count in nodes_by_provider(session).items()}


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
    seconds = manifest.audio.n_frames * manifest.audio.hop_length / manifest.audio.sample_rate
    return [
        ("model", f"{model.name} from {model.source}, licence {model.licence or 'not stated'}"),
        ("weights", weights),
        ("encoder", f"{dims.encoder_layers} layers, {dims.encoder_heads} heads, width {dims.d_model}"),
        (
            "decoder",
            f"{dims.decoder_layers} layers, {dims.decoder_heads} heads, at most {dims.max_target_positions} tokens",
        ),
        ("audio", f"{dims.n_mels} mel bins, windows of {seconds:g} s"),
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
    return [*lines, *_tensor_lines("input", info.inputs), *_tensor_lines("output", info.outputs)]


def _tensor_lines(kind: str, tensors: Sequence[TensorInfo]) -> Lines:
    """A line for each tensor, but one for all layers of a cache, whose names end in the layer's number."""
    lines = []
    for _, group in itertools.groupby(tensors, key=_line_key):
        first, *others = group
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
    lines += [(f"time to {step}", f"{seconds:.2f} s") for step, seconds in measurements.seconds.items()]
    return lines


def _size(size: int) -> str:
    """Bytes for people: "37 kB", "18.7 MB"."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(size / 1e3, 0.1):.1f} kB"
