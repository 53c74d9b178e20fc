"""Checksums of an artifact's files, compared at first use and remembered."""

import os
from pathlib import Path

from edgewhisper.artifact import Manifest, verify_file

from .state import DeviceState

_SECTION = "verified"


def verify_artifact(folder: Path, manifest: Manifest, state: DeviceState, *, again: bool = False) -> None:
    """Compare every file with its checksum, except those that were compared before and have not been touched since.

    Args:
        folder: the artifact.
        manifest: its manifest.
        state: remembers what was compared.
        again: compare all files.

    Raises:
        IntegrityError: a file is damaged.
    """
    verified: dict[str, str] = {}
    for info in manifest.files:
        key = _identity(folder / info.name)
        if again or state.get(_SECTION, key) != info.sha256:
            verify_file(folder, info)
            verified[key] = info.sha256
    if verified:
        state.put(_SECTION, verified)


def _identity(path: Path) -> str:
    """Changes when a file is replaced or written to."""
    stat = os.stat(path)
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_size}:{stat.st_mtime_ns}"
