"""Looking at builds from outside: the files they leave, and builds in processes of their own."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path


def snapshot(folder: Path) -> dict[str, bytes]:
    """Name -> contents of the files in a folder, hidden ones included."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run_python(code: str, *arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
