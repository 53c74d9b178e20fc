"""Checksums of an artifact's files, compared at first use and remembered."""

import os
from collections.abc import Iterable
from pathlib import Path

from edgewhisper.artifact import FileInfo, verify_file

from .state import DeviceState

_SECTION = "verified"


def verify_files(folder: Path, files: Iterable[FileInfo], state: DeviceState, *, again: bool = False) -> None:
    """Compare files with their checksums, except those that were compared before and have not been touched since.

    Args:
        folder: the artifact.
        files: of its manifest.
        state: remembers what was compared.
        again: compare all files.

    Raises:
        IntegrityError: a file is damaged.
    """
    verified: dict[str, str] = {}
    for info in files:
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
