"""Peak memory, on systems that tell it in different ways or not at all."""

import sys
from pathlib import Path

import pytest

from edgewhisper.runtime.memory import peak_memory
from tests.pipeline.observing import run_python

MEGABYTE = 10**6


def test_memory_once_used_stays_in_the_peak() -> None:
    code = f"""
        from edgewhisper.runtime.memory import peak_memory
        before = peak_memory()
        bytearray(200 * {MEGABYTE})
        print(peak_memory() - before)
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert 150 * MEGABYTE < int(done.stdout) < 250 * MEGABYTE


def test_a_system_without_resource_usage_can_still_transcribe(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, which has neither /proc nor the module `resource`."""

    def refuse(path: Path) -> str:
        raise FileNotFoundError(path)

    monkeypatch.setattr(Path, "read_text", refuse)
    assert peak_memory() > 0, "from getrusage"
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_memory() == 0


def test_the_module_is_imported_where_resource_is_absent() -> None:
    code = "import sys; sys.modules['resource'] = None; import edgewhisper.runtime.memory"
    done = run_python(code)
    assert done.returncode == 0, done.stderr
