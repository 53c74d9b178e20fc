"""What the passes start from: the fp32 graphs of a checkpoint or of an artifact."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import (
    DRAFT_ENCODER,
    AudioSettings,
    BuildInfo,
    GraphInfo,
    Manifest,
    ModelDimensions,
    ModelInfo,
    TokenIds,
    load_manifest,
    verify_file,
)
from edgewhisper.errors import MissingDependencyError, UsageError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft

from .artifact_writer import write_vocabulary
from .options import Ops


@dataclass(frozen=True)
class Source:
    """fp32 graphs in a folder, with the vocabulary's files beside them.

    Attributes:
        folder: where they are.
        graphs: name -> what the manifest says of it.
        draft: what a manifest states of the draft among them; None where there is none, or it was exported just now.
    """

    folder: Path
    model: ModelInfo
    dimensions: ModelDimensions
    tokens: TokenIds
    audio: AudioSettings
    graphs: Mapping[str, GraphInfo]
    draft: str | None = None

    @property
    def is_rewritten(self) -> bool:
        """Whether the encoder's convolutions are matrix products already."""
        return any(rewrite.method != "none" for rewrite in self.graphs["encoder"].rewrites)

    def manifest(self, graphs: Mapping[str, GraphInfo] | None = None) -> Manifest:
        """A manifest that the runtime can run graphs with, before the real one is written; it lists no files."""
        build = BuildInfo(versions={}, options={}, target="any")
        return Manifest(
            self.model, self.dimensions, self.tokens, self.audio, dict(graphs or self.graphs), (), build
        )


def export_source(
    checkpoint: Checkpoint,
    folder: Path,
    ops: Ops,
    draft: Draft | None = None,
    gives_hidden: bool = False,
    scored: tuple[int, ...] | None = None,
    gives_encoded: bool = False,
) -> Source:
    """Write the fp32 graphs of a checkpoint, and of a draft for it, and its vocabulary into `folder`; see `export_graphs`.

    Raises:
        MissingDependencyError: a package that writing graphs needs.
    """
    try:
        from edgewhisper.export.graphs import export_graphs
    except ImportError as error:
        raise MissingDependencyError(
            f"a build needs the package '{error.name}'; run 'pip install edgewhisper[build]'"
        ) from None
    graphs = export_graphs(checkpoint, folder, ops, draft, gives_hidden, scored, gives_encoded)
    write_vocabulary(checkpoint.vocabulary, folder)
    dims = checkpoint.dimensions
    audio = AudioSettings(n_mels=dims.n_mels, n_frames=2 * dims.max_source_positions)
    return Source(folder, checkpoint.model, dims, checkpoint.token_ids, audio, graphs)


def artifact_source(folder: Path) -> Source:
    """The graphs of an fp32 artifact; every file is compared with its checksum.

    Raises:
        ArtifactError: not an artifact, or damaged.
        UsageError: it is not fp32, or portable, or has an assistant, whose shape it does not tell.
    """
    manifest = load_manifest(folder)
    if DRAFT_ENCODER in manifest.graphs:
        raise UsageError(
            f"{folder}: its draft is a model of its own; build the quantized artifact from the checkpoints, with 'edgewhisper build'"
        )
    for graph in manifest.graphs.values():
        if graph.precision != "fp32":
            raise UsageError(
                f"{folder}: is quantized already ({graph.file} is {graph.precision}); "
                "give an artifact of 'edgewhisper build --precision fp32'"
            )
        if graph.ops == "portable":
            raise UsageError(
                f"{folder}: its graphs are portable, and quantized ones need operators of ONNX Runtime; "
                "give an artifact that was built without --ops portable"
            )
    for info in manifest.files:
        verify_file(folder, info)
    # In the order in which a build writes them, so that both ways give the same bytes.
    order: tuple[str, ...] = ("encoder", "decoder", "draft")
    graphs = {name: manifest.graphs[name] for name in order if name in manifest.graphs}
    draft = manifest.build.options.get("draft")
    return Source(folder, manifest.model, manifest.dimensions, manifest.tokens, manifest.audio, graphs, draft)
