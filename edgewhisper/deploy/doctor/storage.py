"""Memory and disk: what is free, and whether that is enough."""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import Manifest
from edgewhisper.runtime.memory import available_memory, memory_figures
from edgewhisper.runtime.memory_budget import draft_memory, transcription_memory
from edgewhisper.runtime.state import state_folder

from .checks import Check, fine, problem
from .host import Host

# Beside its model, an installation takes up to 130 MB; an upgrade has both versions for a moment.
INSTALLATION = 130_000_000
_FULL = 1_000_000  # bytes: less than what the device remembers may need


@dataclass(frozen=True)
class Memory:
    """In bytes; 0 where the system does not tell."""

    total: int
    available: int
    swap_free: int

    @property
    def with_swap(self) -> int:
        """As `runtime.memory.memory_with_swap`, by which a bundle's self-test goes too."""
        return self.available + self.swap_free


def read_memory(host: Host) -> Memory:
    """What the system has and can give."""
    figures = memory_figures(host.root)
    return Memory(figures.get("MemTotal", 0), available_memory(host.root), figures.get("SwapFree", 0))


@dataclass(frozen=True)
class Need:
    """What an artifact takes, in bytes: with the default settings, and with --low-memory."""

    usual: int
    least: int


def memory_needed(manifest: Manifest) -> Need:
    """Estimated from the artifact's dimensions."""
    encoder, decoder = (manifest.graph(name).precision for name in ("encoder", "decoder"))
    usual, least = (
        transcription_memory(manifest.dimensions, encoder, decoder, low) + draft_memory(manifest)
        for low in (False, True)
    )
    return Need(usual, least)


def check_memory(host: Host, need: Need | None) -> list[Check]:
    """Free memory, against what the artifact takes where there is one. Swap counts, and is warned of where it would be used."""
    memory = read_memory(host)
    text = f"{_megabytes(memory.available)} of {_megabytes(memory.total)} free"
    if memory.swap_free:
        text += f", {_megabytes(memory.swap_free)} of swap"
    if need is None:
        return [fine("memory", text)]
    if need.least > memory.with_swap:
        text += f"; the artifact takes {_megabytes(need.least)} even with --low-memory"
        return [problem("too-little-memory", "memory", text)]
    text += f"; the artifact takes {_megabytes(need.usual)}"
    if need.usual <= memory.available:
        return [fine("memory", text)]
    text += f", or {_megabytes(need.least)} with --low-memory"
    return [problem("would-swap" if need.least > memory.available else "low-memory", "memory", text)]


def free_disk(place: Path) -> int:
    """Bytes that are free on the disk that `place` is on, or would be on."""
    return shutil.disk_usage(_nearest(place)).free


def _nearest(place: Path) -> Path:
    """The folder itself, else the nearest one around it that exists."""
    place = place.absolute()
    return next(each for each in (place, *place.parents) if os.path.isdir(each))


def check_disk(place: Path, size: int) -> list[Check]:
    """Room on the disk that `place` is on: what an upgrade with a model of `size` bytes needs for a moment."""
    free = free_disk(place)
    needed = INSTALLATION + size
    text = f"{_megabytes(free)} free at {place}"
    if free < _FULL:
        return [problem("full-disk", "disk", text)]
    if free < needed:
        return [problem("little-disk", "disk", f"{text}; an upgrade needs {_megabytes(needed)}")]
    return [fine("disk", text)]


def check_state() -> list[Check]:
    """Whether what is learned on this device can be kept."""
    folder = state_folder()
    if folder is None:
        return [problem("state-not-kept", "state", "no home folder, and no EDGEWHISPER_STATE")]
    try:
        with tempfile.TemporaryFile(dir=folder if os.path.exists(folder) else _nearest(folder)):
            pass
    except OSError:
        return [problem("state-not-kept", "state", f"{folder} cannot be written")]
    return [fine("state", f"kept in {folder}")]


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
