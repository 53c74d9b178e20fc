"""Artifacts of checkpoints in memory."""

import dataclasses
from pathlib import Path

from edgewhisper.artifact import MANIFEST, FileInfo, sha256_of
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.pipeline.artifact_writer import write_vocabulary
from tests.small_models import export


def write_artifact(checkpoint: Checkpoint, folder: Path) -> Path:
    """Export a checkpoint in fp32, with all that a transcription needs."""
    manifest = export(checkpoint, folder)
    write_vocabulary(checkpoint.vocabulary, folder)
    files = tuple(
        FileInfo(path.name, path.stat().st_size, sha256_of(path)) for path in sorted(folder.iterdir())
    )
    text = dataclasses.replace(manifest, files=files).to_json()
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return folder
