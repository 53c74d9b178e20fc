"""What `inspect` tells of an artifact, and what it says of a damaged one."""

import builtins
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgewhisper.artifact import MANIFEST, MEASURED, load_manifest, sha256_of
from edgewhisper.errors import ArtifactError, IntegrityError, ProviderError, UsageError
from edgewhisper.pipeline.inspect import inspect
from edgewhisper.pipeline.inspection_text import format_inspection
from edgewhisper.pipeline.measurements import read_measurements
from tests.small_artifacts import edit


@pytest.fixture
def copy(small_artifact: Path, tmp_path: Path) -> Path:
    """An artifact that a test may damage."""
    return Path(shutil.copytree(small_artifact, tmp_path / "copy"))


def test_operators_are_those_of_the_graph_files(small_artifact: Path) -> None:
    import onnx

    for name, graph in inspect(small_artifact).graphs.items():
        nodes = onnx.load(small_artifact / f"{name}.onnx").graph.node
        assert graph.operators is not None
        assert sum(graph.operators.values()) == len(nodes)
        kinds = Counter(operator.rpartition(".")[2] for operator in graph.operators)
        assert set(kinds) == {node.op_type for node in nodes}


def test_shapes_and_sizes_are_those_of_the_files(small_artifact: Path) -> None:
    import onnxruntime

    for name, graph in inspect(small_artifact).graphs.items():
        path = small_artifact / f"{name}.onnx"
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        assert graph.size == path.stat().st_size
        for tensors, found in (
            (graph.info.inputs, session.get_inputs()),
            (graph.info.outputs, session.get_outputs()),
        ):
            assert [(tensor.name, list(tensor.shape)) for tensor in tensors] == [
                (t.name, t.shape) for t in found
            ]


def test_the_cpu_takes_every_node(small_artifact: Path) -> None:
    for graph in inspect(small_artifact, provider="cpu").graphs.values():
        assert graph.nodes_by_provider is not None
        assert set(graph.nodes_by_provider) == {"cpu"}
        assert graph.nodes_by_provider["cpu"] > 0


def test_nodes_are_placed_only_on_request(small_artifact: Path) -> None:
    assert all(graph.nodes_by_provider is None for graph in inspect(small_artifact).graphs.values())


def test_an_unknown_provider_and_an_absent_one_are_told_apart(small_artifact: Path) -> None:
    with pytest.raises(UsageError, match="unknown provider 'tpu'"):
        inspect(small_artifact, provider="tpu")
    with pytest.raises(ProviderError, match="no provider 'coreml'"):
        inspect(small_artifact, provider="coreml")


def test_the_text_tells_what_a_person_asks_for(small_artifact: Path) -> None:
    manifest = load_manifest(small_artifact)
    text = format_inspection(inspect(small_artifact, provider="cpu"))
    for name, graph in manifest.graphs.items():
        assert f"graph {name}" in text
        assert graph.file in text
    for info in manifest.files:
        assert f"sha256 {info.sha256[:16]} verified" in text
    for told in (
        "windows of 2 s", "random, for measurements only", "fp32", "ONNX Runtime 1.24.4", "edgewhisper 0.1.0",
        "com.microsoft.GroupQueryAttention 2", "audio_features", "de, en", "cpu", "argmax differs in 0 of",
        "past_key_self_0 to past_value_self_1 (4)",
    ):  # fmt: skip
        assert told in text


def test_no_line_of_the_text_ends_in_spaces(small_artifact: Path) -> None:
    for line in format_inspection(inspect(small_artifact)).splitlines():
        assert line == line.rstrip()


def test_the_json_says_everything(small_artifact: Path) -> None:
    data = json.loads(inspect(small_artifact, provider="cpu").to_json())
    assert data["manifest"] == json.loads((small_artifact / MANIFEST).read_bytes())
    assert data["measurements"] == json.loads((small_artifact / MEASURED).read_bytes())
    assert set(data["graphs"]) == {"encoder", "decoder"}


def test_an_artifact_without_measurements_is_whole(copy: Path) -> None:
    (copy / MEASURED).unlink()
    inspection = inspect(copy)
    assert inspection.measurements is None
    assert "no measured.json" in format_inspection(inspection)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"parity": {}, "seconds": {}}', '{"parity": null, "seconds": 3}']
)
def test_damaged_measurements_are_one_line(copy: Path, text: str) -> None:
    (copy / MEASURED).write_text(text)
    with pytest.raises(ArtifactError, match=r"measured\.json"):
        read_measurements(copy)


@pytest.mark.parametrize("name", ["weights.bin", "encoder.onnx", "tokens.bin", "tokenizer.json"])
def test_one_wrong_bit_in_any_file_is_found(copy: Path, name: str) -> None:
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(IntegrityError, match=rf"{name}: wrong checksum"):
        inspect(copy)


def test_a_graph_that_is_none_is_one_line(copy: Path) -> None:
    path = copy / "encoder.onnx"
    path.write_bytes(b"\xff" * path.stat().st_size)
    files = load_manifest(copy).files
    place = next(index for index, info in enumerate(files) if info.name == path.name)
    edit(copy, "files", place, "sha256", value=sha256_of(path))
    with pytest.raises(ArtifactError, match=r"encoder\.onnx: damaged"):
        inspect(copy)


def test_operators_are_left_out_where_onnx_is_not_installed(
    small_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_import = builtins.__import__

    def import_others(
        name: str,
        globals: Mapping[str, object] | None = None,
        locals: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> Any:
        if name == "onnx":
            raise ImportError(name)
        return really_import(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", import_others)
    inspection = inspect(small_artifact)
    assert all(graph.operators is None for graph in inspection.graphs.values())
    assert "the package onnx is not installed" in format_inspection(inspection)


def test_inspection_needs_neither_torch_nor_transformers(small_artifact: Path) -> None:
    code = (
        "import sys; from edgewhisper.pipeline.inspect import inspect; inspect(sys.argv[1], 'cpu');"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, small_artifact], check=True, timeout=60)
