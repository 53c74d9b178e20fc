"""The bundled model's artifact with portable graphs."""

import shutil
from dataclasses import replace
from pathlib import Path

from edgewhisper.artifact import MANIFEST, FileInfo, load_manifest, sha256_of
from edgewhisper.export.graphs import export_graphs
from edgewhisper.models.reader import read_checkpoint


def with_portable_graphs(artifact: Path, folder: Path) -> Path:
    """A copy of the demo model's `artifact` in `folder`, whose graphs are portable."""
    manifest = load_manifest(artifact)
    shutil.copytree(artifact, folder)
    graphs = export_graphs(read_checkpoint("demo"), folder, "portable")
    names = [info.name for info in manifest.files]
    files = tuple(FileInfo(name, (folder / name).stat().st_size, sha256_of(folder / name)) for name in names)
    (folder / MANIFEST).write_text(replace(manifest, graphs=graphs, files=files).to_json(), encoding="utf-8")
    return folder
