"""Everything of an artifact but its graphs: vocabulary and manifest."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path

from edgewhisper import __version__
from edgewhisper.artifact import (
    MANIFEST,
    TOKENIZER,
    TOKENS,
    AudioSettings,
    BuildInfo,
    FileInfo,
    GraphInfo,
    Manifest,
    sha256_of,
)
from edgewhisper.models.checkpoint import Checkpoint, Vocabulary
from edgewhisper.runtime.vocabulary import pack_tokens

# The packages whose versions may change the bytes of a graph.
BUILD_PACKAGES = ("numpy", "onnx", "onnx-ir", "protobuf")


def write_vocabulary(vocabulary: Vocabulary, folder: Path) -> None:
    """Write tokenizer.json, which prompts need, and tokens.bin, which text needs."""
    (folder / TOKENIZER).write_bytes(vocabulary.tokenizer_json)
    (folder / TOKENS).write_bytes(pack_tokens(vocabulary.tokens))


def write_manifest(
    checkpoint: Checkpoint, graphs: Mapping[str, GraphInfo], options: Mapping[str, str], folder: Path
) -> Manifest:
    """Hash the files in `folder` and write manifest.json."""
    dimensions = checkpoint.dimensions
    versions = {package: importlib.metadata.version(package) for package in BUILD_PACKAGES}
    manifest = Manifest(
        model=checkpoint.model,
        dimensions=dimensions,
        tokens=checkpoint.token_ids,
        audio=AudioSettings(n_mels=dimensions.n_mels, n_frames=2 * dimensions.max_source_positions),
        graphs=dict(graphs),
        files=tuple(
            FileInfo(path.name, path.stat().st_size, sha256_of(path)) for path in sorted(folder.iterdir())
        ),
        build=BuildInfo(
            versions={"edgewhisper": __version__, **versions}, options=dict(options), target="any"
        ),
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    return manifest
