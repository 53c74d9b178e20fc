"""A program arecord that plays what a test gives it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgewhisper.runtime.protocols import Floats

PROGRAM = """#!/bin/sh
cd '{folder}'
if [ "$1" = -L ]; then exec cat devices; fi
number=$(($(cat count) + 1))
echo $number > count
echo "$LC_ALL $*" > $number.arguments
[ -f $number.err ] && cat $number.err >&2
[ -f $number.raw ] && cat $number.raw
[ -f $number.stays ] && exec sleep 100
exit 1
"""


@dataclass
class FakeArecord:
    """Runs of the program, in their order; after the last one it fails as if there were no microphone."""

    folder: Path
    planned: int = 0

    def run(self, samples: Floats | None = None, says: str = "", stays: bool = False) -> None:
        """What the next run gives and says; then it ends, or waits to be killed."""
        self.planned += 1
        name = str(self.folder / str(self.planned))
        if samples is not None:
            Path(f"{name}.raw").write_bytes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
        if says:
            Path(f"{name}.err").write_text(says)
        if stays:
            Path(f"{name}.stays").touch()

    def devices(self, listing: str) -> None:
        """What `arecord -L` prints."""
        (self.folder / "devices").write_text(listing)

    def arguments(self, number: int = 1) -> str:
        """What a run was called with, after the locale."""
        return (self.folder / f"{number}.arguments").read_text().strip()

    @property
    def count(self) -> int:
        """How many runs there were."""
        return len(list(self.folder.glob("*.arguments")))


def install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> FakeArecord:
    """Put the program first on the path."""
    runs, programs = folder / "arecord", folder / "bin"
    runs.mkdir()
    programs.mkdir()
    (runs / "count").write_text("0")
    (runs / "devices").touch()
    (programs / "arecord").write_text(PROGRAM.format(folder=runs))
    (programs / "arecord").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    return FakeArecord(runs)
