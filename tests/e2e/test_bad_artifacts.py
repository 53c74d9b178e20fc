"""Artifacts that are damaged or dangerous: one line and exit code 1, whatever reads them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command


def edit_manifest(folder: Path, edit: Callable[[Any], None]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def rename_graph(manifest: Any, name: str) -> None:
    graph = manifest["graphs"]["encoder"]
    next(info for info in manifest["files"] if info["name"] == graph["file"])["name"] = name
    graph["file"] = name


def flip_bits(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def delete_graph(folder: Path) -> None:
    del_graph: Callable[[Any], None] = lambda manifest: manifest["graphs"].pop("decoder")  # noqa: E731
    edit_manifest(folder, del_graph)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (shutil.rmtree, "no such artifact folder"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json"),
    "a manifest that is not JSON": (lambda folder: (folder / "manifest.json").write_text('{"graphs": '), "manifest.json"),
    "a manifest that is binary": (lambda folder: (folder / "manifest.json").write_bytes(b"\xff\xfe\x00"), "manifest.json"),
    "a manifest that is a list": (lambda folder: (folder / "manifest.json").write_text("[1, 2]"), "manifest.json"),
    "a key is missing": (lambda folder: edit_manifest(folder, lambda m: m.pop("audio")), "'audio'"),
    "a key has another type": (lambda folder: edit_manifest(folder, lambda m: m["tokens"].update(end_of_text="x")), "end_of_text"),
    "a newer format": (lambda folder: edit_manifest(folder, lambda m: m.update(format_version="2.0")), "2.0"),
    "no decoder in the manifest": (delete_graph, "decoder"),
    "no encoder file": (lambda folder: (folder / "encoder.onnx").unlink(), "encoder.onnx"),
    "no vocabulary": (lambda folder: (folder / "tokens.bin").unlink(), "tokens.bin"),
    "a cut graph": (lambda folder: (folder / "decoder.onnx").write_bytes((folder / "decoder.onnx").read_bytes()[:-9]), "decoder.onnx"),
    "a changed graph": (lambda folder: flip_bits(folder / "encoder.onnx"), "wrong checksum"),
    "changed weights": (lambda folder: flip_bits(folder / "weights.bin"), "wrong checksum"),
    "a path that leaves the folder": (lambda folder: edit_manifest(folder, lambda m: rename_graph(m, "../../etc/passwd")), "not a plain name"),
    "an absolute path": (lambda folder: edit_manifest(folder, lambda m: rename_graph(m, "/etc/passwd")), "not a plain name"),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_artifact_is_refused(
    damage: str, command: Command, demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    spoil, words = DAMAGES[damage]
    artifact = tmp_path / "artifact"
    shutil.copytree(demo_artifact, artifact)
    spoil(artifact)
    command("transcribe", speech, "-a", artifact, "-o", tmp_path / "text").assert_refused(1, words)
    assert not (tmp_path / "text").exists()


def test_a_link_in_the_place_of_a_graph_is_not_followed(
    command: Command, demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(demo_artifact, artifact)
    (artifact / "encoder.onnx").unlink()
    (artifact / "encoder.onnx").symlink_to(demo_artifact / "encoder.onnx")
    command("transcribe", speech, "-a", artifact).assert_refused(1, "encoder.onnx")


@pytest.mark.parametrize(
    "damage", ["no folder", "no manifest", "a manifest that is not JSON", "a newer format", "no encoder file"]
)
def test_inspect_refuses_it_too(damage: str, command: Command, demo_artifact: Path, tmp_path: Path) -> None:
    spoil, words = DAMAGES[damage]
    artifact = tmp_path / "artifact"
    shutil.copytree(demo_artifact, artifact)
    spoil(artifact)
    command("inspect", artifact).assert_refused(1, words)


def test_what_changed_after_it_was_verified_is_found_with_verify(
    command: Command, demo_artifact: Path, speech: Path, tmp_path: Path
) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(demo_artifact, artifact)
    assert command("transcribe", speech, "-a", artifact).code == 0
    flip_bits(artifact / "weights.bin")
    command("transcribe", speech, "-a", artifact, "--verify").assert_refused(1, "weights.bin", "checksum")
