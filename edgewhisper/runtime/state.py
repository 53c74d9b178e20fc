"""What is learned on this device: which files were verified, what probes found.

One JSON file in `$EDGEWHISPER_STATE`, else in `$XDG_STATE_HOME/edgewhisper` (`~/.local/state/edgewhisper`); where that
cannot be written, only in memory. It is a cache: a damaged or lost file costs time, never a transcription.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgewhisper.atomic import atomic_file

FILE = "state.json"
_KEPT_ENTRIES = 1000  # per section, the newest; files are replaced and their keys never come back


def state_folder() -> Path | None:
    """Where this device's state lives; None without a home."""
    if folder := os.environ.get("EDGEWHISPER_STATE"):
        return Path(folder)
    base = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):  # the specification has relative paths ignored
        return Path(base) / "edgewhisper"
    try:
        return Path.home() / ".local" / "state" / "edgewhisper"
    except RuntimeError:
        return None


class DeviceState:
    """Small JSON values by section and key, kept from run to run where that is possible."""

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE
        self._sections = self._read()

    def get(self, section: str, key: str) -> Any:
        """The value, or None; its type is whatever the file holds, so check it."""
        return self._sections.get(section, {}).get(key)

    def put(self, section: str, values: Mapping[str, Any]) -> None:
        """Remember JSON values; values of other keys stay."""
        self._sections.setdefault(section, {}).update(values)
        if self._path is None:
            return
        # What another process has written meanwhile is kept; two that write at once lose one entry, which costs time only.
        stored = self._read()
        known = stored.get(section, {})
        merged = {key: value for key, value in known.items() if key not in values} | dict(values)
        stored[section] = dict(list(merged.items())[-_KEPT_ENTRIES:])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(self._path) as temporary:
                temporary.write_text(json.dumps(stored, indent=1))
        except OSError:
            self._path = None

    def _read(self) -> dict[str, dict[str, Any]]:
        if self._path is None:
            return {}
        try:
            data = json.loads(self._path.read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(data, dict):
            return {}
        return {name: section for name, section in data.items() if isinstance(section, dict)}
