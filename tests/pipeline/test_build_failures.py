"""Builds that replace, fail, fill the disk or are killed: nothing is lost and nothing is half-written."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgewhisper.artifact import MANIFEST, MEASURED, GraphInfo, load_manifest, verify_file
from edgewhisper.errors import BuildError, CheckpointError, MissingDependencyError, UsageError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.pipeline import build as build_module
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.measurements import read_measurements
from edgewhisper.pipeline.steps import BuildStep
from tests.pipeline.observing import run_python, snapshot

# Replacing


@pytest.fixture
def old(small_artifact: Path, tmp_path: Path) -> Path:
    """An artifact of an earlier build: whole, with bytes that no build writes."""
    old = tmp_path / "model"
    shutil.copytree(small_artifact, old)
    (old / MEASURED).write_text("{}")
    return old


def test_an_artifact_is_replaced(small_checkpoint: Path, old: Path) -> None:
    assert build(small_checkpoint, old, parity=False) == old
    measurements = read_measurements(old)
    assert measurements is not None
    assert measurements.parity is None
    assert os.listdir(old.parent) == ["model"]


def test_an_empty_folder_is_taken(small_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    build(small_checkpoint, tmp_path / "out", parity=False)
    load_manifest(tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("letters.txt", "dear"),
        (MANIFEST, "not json"),
        (MANIFEST, "[1]"),
        (MANIFEST, '{"manifest_version": 3}'),
        (MANIFEST, '{"files": [{"size": 3}]}'),
        (MANIFEST, '{"files": [[]]}'),
    ],
)
def test_a_folder_that_is_no_artifact_is_never_replaced(
    small_checkpoint: Path, tmp_path: Path, name: str, text: str
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text(text)
    with pytest.raises(UsageError, match="mine: exists and is not an artifact"):
        build(small_checkpoint, folder, parity=False)
    assert (folder / name).read_text() == text


def test_an_artifact_with_another_file_in_it_is_not_replaced(small_checkpoint: Path, old: Path) -> None:
    (old / "speech.wav").write_bytes(b"mine")
    with pytest.raises(UsageError, match=r"'speech\.wav', which would be lost"):
        build(small_checkpoint, old, parity=False)
    assert (old / "speech.wav").read_bytes() == b"mine"


def test_a_file_is_never_replaced(small_checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"mine")
    for output in (path, path / "below"):
        with pytest.raises(UsageError, match="is not a folder"):
            build(small_checkpoint, output, parity=False)
    assert path.read_bytes() == b"mine"


def test_the_checkpoint_is_not_replaced_by_its_artifact(small_checkpoint: Path) -> None:
    before = snapshot(small_checkpoint)
    with pytest.raises(UsageError, match="not an artifact"):
        build(small_checkpoint, small_checkpoint, parity=False)
    assert snapshot(small_checkpoint) == before


# Failures


def test_a_missing_checkpoint_leaves_the_old_artifact(tmp_path: Path, old: Path) -> None:
    before = snapshot(old)
    with pytest.raises(CheckpointError):
        build(tmp_path / "nowhere", old, parity=False)
    assert snapshot(old) == before


def without(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `package` seem not to be installed."""
    find = importlib.util.find_spec

    def find_others(name: str, parent: str | None = None) -> ModuleSpec | None:
        return None if name == package else find(name, parent)

    monkeypatch.setattr(importlib.util, "find_spec", find_others)


@pytest.mark.parametrize("package", ["torch", "transformers", "onnxruntime"])
def test_parity_is_left_out_where_the_reference_is_not_installed(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    without(package, monkeypatch)
    with pytest.raises(MissingDependencyError, match=rf"needs {package}; .*edgewhisper\[cpu,torch\]"):
        build(small_checkpoint, tmp_path / "asked", parity=True)
    measurements = read_measurements(build(small_checkpoint, tmp_path / "model"))
    assert measurements is not None
    assert measurements.parity is None
    assert os.listdir(tmp_path) == ["model"]


def test_a_missing_build_package_is_named(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("edgewhisper.export")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx_ir", None)
    with pytest.raises(MissingDependencyError, match=r"'onnx_ir'.*edgewhisper\[build\]"):
        build(small_checkpoint, tmp_path / "out", parity=False)
    assert not os.listdir(tmp_path)


def test_graphs_that_differ_from_pytorch_are_not_written(
    small_checkpoint: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgewhisper.export import graphs

    export = graphs.export_graphs

    def export_wrong_graphs(checkpoint: Checkpoint, folder: Path, *others: Any) -> dict[str, GraphInfo]:
        exported = export(checkpoint, folder, *others)
        weights = bytearray((folder / "weights.bin").read_bytes())
        weights[-4:] = b"\0\0\0\x42"  # 32.0
        (folder / "weights.bin").write_bytes(weights)
        return exported

    monkeypatch.setattr(graphs, "export_graphs", export_wrong_graphs)
    before = snapshot(old)
    with pytest.raises(
        BuildError, match=r"coder\.onnx: relative error of .* more than 1e-04; nothing was written"
    ):
        build(small_checkpoint, old, parity=True)
    assert snapshot(old) == before
    assert os.listdir(old.parent) == ["model"]


def test_an_artifact_that_no_device_would_read_is_not_written(
    small_checkpoint: Path, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_wrongly(model: str | Path) -> Checkpoint:
        checkpoint = read_checkpoint(model)
        wrong = {"max_initial_timestamp_index": "50"}
        return replace(checkpoint, token_ids=replace(checkpoint.token_ids, **wrong))  # type: ignore[arg-type]

    monkeypatch.setattr(build_module, "read_checkpoint", read_wrongly)
    before = snapshot(old)
    with pytest.raises(
        BuildError, match=r"small: .* \(tokens: max_initial_timestamp_index: .*nothing was written"
    ):
        build(small_checkpoint, old, parity=False)
    assert snapshot(old) == before
    assert os.listdir(old.parent) == ["model"]


# The disk


def test_too_little_space_is_seen_before_anything_is_written(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def disk_usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=3_000_000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    with pytest.raises(BuildError, match=r"needs 19 MB, the disk has 3 MB free"):
        build(small_checkpoint, tmp_path / "not" / "yet" / "there", parity=False)
    assert asked == [tmp_path]
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("limit", [1_000, 100_000])
def test_a_disk_that_fills_up_is_one_line_and_keeps_the_old_artifact(
    small_checkpoint: Path, old: Path, limit: int
) -> None:
    code = f"""
        import resource, sys
        from edgewhisper.errors import BuildError
        from edgewhisper.pipeline.build import build
        resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
        try:
            build(sys.argv[1], sys.argv[2], parity=False)
        except BuildError as error:
            print(error)
    """
    before = snapshot(old)
    done = run_python(code, small_checkpoint, old)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"{old}: the disk is full, nothing was written; free some space and build again"
    ]
    assert snapshot(old) == before
    assert os.listdir(old.parent) == ["model"]


def test_a_place_that_cannot_be_written_is_named(
    small_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1 << 40))
    with pytest.raises(BuildError, match="/proc/model: cannot be written"):
        build(small_checkpoint, Path("/proc/model"), parity=False)


# Kills

KILLED_BUILD = """
    import os, signal, sys
    from edgewhisper.pipeline.build import build
    def die(step):
        if step.number == int(sys.argv[3]):
            os.kill(os.getpid(), signal.SIGKILL)
    build(sys.argv[1], sys.argv[2], parity=False, progress=die)
"""


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_kill_at_any_step_leaves_the_old_artifact_and_the_next_build_cleans_up(
    small_checkpoint: Path, old: Path, step: int
) -> None:
    before = snapshot(old)
    assert run_python(KILLED_BUILD, small_checkpoint, old, str(step)).returncode == -signal.SIGKILL
    assert snapshot(old) == before
    build(small_checkpoint, old, parity=False)
    assert os.listdir(old.parent) == ["model"]


@pytest.mark.slow
def test_kills_at_many_moments_leave_a_whole_artifact(small_checkpoint: Path, old: Path) -> None:
    code = """
        import sys
        from edgewhisper.pipeline.build import build
        print("ready", flush=True)
        while True:
            build(sys.argv[1], sys.argv[2], parity=False)
    """
    for moment in range(25):
        builder = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), small_checkpoint, old], stdout=subprocess.PIPE
        )
        with builder:
            assert builder.stdout is not None
            builder.stdout.readline()
            time.sleep(0.3 + 0.013 * moment)
            builder.kill()
        for info in load_manifest(old).files:
            verify_file(old, info)
        assert json.loads((old / MEASURED).read_bytes()) is not None


def test_an_interrupted_build_leaves_nothing(small_checkpoint: Path, tmp_path: Path) -> None:
    def interrupt(step: BuildStep) -> None:
        if step.number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(small_checkpoint, tmp_path / "out", parity=False, progress=interrupt)
    assert not os.listdir(tmp_path)


def test_a_pytorch_that_does_not_load_is_one_line(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "packages" / "transformers"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise OSError('libtorch.so: cannot open shared object file')")
    monkeypatch.syspath_prepend(broken.parent)
    with pytest.raises(MissingDependencyError, match=r"do not load here .*libtorch.*--no-parity"):
        build(small_checkpoint, tmp_path / "out", parity=True)
    assert os.listdir(tmp_path) == ["packages"]


def test_a_pytorch_that_crashes_is_one_line(
    small_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crashing = tmp_path / "packages" / "transformers"
    crashing.mkdir(parents=True)
    (crashing / "__init__.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.syspath_prepend(crashing.parent)
    with pytest.raises(BuildError, match=r"ended early \(SIGKILL, perhaps for want of memory\).*--no-parity"):
        build(small_checkpoint, tmp_path / "out", parity=True)
    assert os.listdir(tmp_path) == ["packages"]


def test_an_interrupt_while_pytorch_runs_ends_it_and_leaves_nothing(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    waiting = tmp_path / "packages" / "transformers"
    waiting.mkdir(parents=True)
    (waiting / "__init__.py").write_text(
        "import os, pathlib, time\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)"
    )
    code = """
        import sys
        from edgewhisper.pipeline.build import build
        build(sys.argv[1], sys.argv[2], parity=True)
    """
    builder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), small_checkpoint, tmp_path / "out"],
        env={**os.environ, "PYTHONPATH": str(waiting.parent)},
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with builder:
        while not (tmp_path / "child").exists() or not (tmp_path / "child").read_text():
            time.sleep(0.05)
        os.killpg(builder.pid, signal.SIGINT)  # as a terminal does
        _, messages = builder.communicate(timeout=30)
    assert messages.decode().rstrip().endswith("KeyboardInterrupt")
    child = int((tmp_path / "child").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
    assert sorted(os.listdir(tmp_path)) == ["child", "packages"]
