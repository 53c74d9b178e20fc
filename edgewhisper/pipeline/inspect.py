"""What an artifact holds, and how many of its nodes an execution provider takes."""

import dataclasses
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import GraphInfo, Manifest, load_manifest, verify_file
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
