"""Everything of an artifact but its graphs: vocabulary and manifest."""

import importlib.metadata
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from edgewhisper import __version__
from edgewhisper.artifact import (
    MANIFEST,
    PHRASES,
    TOKENIZER,
    TOKENS,
    BuildInfo,
    FileInfo,
    Manifest,
    load_manifest,
    sha256_of,
)
from edgewhisper.errors import ArtifactError, BuildError
from edgewhisper.models.checkpoint import Vocabulary
from edgewhisper.runtime.vocabulary import pack_tokens

# The packages whose versions may change the bytes of a graph.
BUILD_PACKAGES = ("numpy", "onnx", "onnx-ir", "protobuf")


def write_vocabulary(vocabulary: Vocabulary, folder: Path) -> None:
    """Write tokenizer.json, which prompts need, and tokens.bin, which text needs."""
    (folder / TOKENIZER).write_bytes(vocabulary.tokenizer_json)
    (folder / TOKENS).write_bytes(pack_tokens(vocabulary.tokens))


def copy_vocabulary(source: Path, folder: Path) -> None:
    """Take over the vocabulary's files, and phrases in its tokens if there are any."""
    for name in (TOKENIZER, TOKENS, PHRASES):
        if name != PHRASES or (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def write_manifest(
    described: Manifest,
    options: Mapping[str, str],
    target: str,
    calibration_sha256: str | None,
    folder: Path,
) -> Manifest:
    """Hash the files in `folder` and write manifest.json.

    Args:
        described: the manifest without files and build; its graphs are in `folder`.
        options: the build's, as the manifest states them.
        target: the processor that the graphs suit, or "any".
        calibration_sha256: of the calibration set, where the graphs depend on one.
        folder: holds all files of the artifact but the manifest.

    Raises:
        BuildError: a device would refuse to read it.
    """
    versions = {package: importlib.metadata.version(package) for package in BUILD_PACKAGES}
    files = sorted(path for path in folder.iterdir() if path.is_file())
    manifest = replace(
        described,
        files=tuple(FileInfo(path.name, path.stat().st_size, sha256_of(path)) for path in files),
        build=BuildInfo(
            versions={"edgewhisper": __version__, **versions},
            options=dict(options),
            target=target,
            calibration_sha256=calibration_sha256,
        ),
    )
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
    try:
        load_manifest(folder)
    except ArtifactError as error:
        reason = str(error).removeprefix(f"{folder / MANIFEST}: ")
        raise BuildError(
            f"{manifest.model.name}: cannot be described in a manifest ({reason}); nothing was written"
        ) from None
    return manifest
