"""Artifacts of a few bytes that keep the contract, and ways to break them."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from edgewhisper.artifact import (
    MANIFEST,
    AudioSettings,
    BuildInfo,
    FileInfo,
    GraphInfo,
    Manifest,
    ModelDimensions,
    ModelInfo,
    TensorInfo,
    TensorLocation,
    TokenIds,
    load_manifest,
)
from edgewhisper.errors import ArtifactError

WEIGHTS = b"weights of a very small model"
GRAPH = b"not a graph, and nobody loads it here"
FILES = {"encoder.onnx": GRAPH, "weights.bin": WEIGHTS}


def sound_manifest() -> Manifest:
    """A manifest with one graph, `encoder.onnx`, that maps `weights.bin`, and an embedding table in it."""
    return Manifest(
        model=ModelInfo(name="tiny", source="folder", checkpoint_sha256="0" * 64, licence="MIT"),
        dimensions=ModelDimensions(80, 64, 2, 4, 256, 2, 4, 256, 300, 400, 128),
        tokens=TokenIds(
            end_of_text=200,
            start_of_transcript=201,
            transcribe=204,
            translate=203,
            start_of_previous=205,
            no_speech=206,
            no_timestamps=207,
            timestamp_begin=208,
            languages={"en": 202},
            suppress=(1, 2),
            alignment_heads=((1, 0), (1, 3)),
        ),
        audio=AudioSettings(n_mels=80, n_frames=800),
        graphs={
            "encoder": GraphInfo(
                file="encoder.onnx",
                kind="encoder",
                precision="fp32",
                ops="fused",
                opset=20,
                inputs=(TensorInfo("audio_features", "float32", ("batch", 80, "frames")),),
                outputs=(TensorInfo("present_key_cross_0", "float32", ("batch", 4, "positions", 16)),),
                weights=("weights.bin",),
                min_onnxruntime="1.24.4",
                embedding=TensorLocation("weights.bin", 0, "float32", (1, 4)),
            )
        },
        files=tuple(
            FileInfo(name, len(data), hashlib.sha256(data).hexdigest())
            for name, data in sorted(FILES.items())
        ),
        build=BuildInfo(versions={"onnx": "1.20"}, options={"precision": "fp32"}, target="any"),
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json alone."""
    (folder / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


def write_artifact(folder: Path) -> None:
    """An artifact as the contract wants it."""
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    write_manifest(folder, sound_manifest())


def edit(folder: Path, *keys: str | int, value: Any) -> None:
    """Set one value of the manifest in `folder`, as a person with an editor would."""
    path = folder / MANIFEST
    data = json.loads(path.read_text(encoding="utf-8"))
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(data), encoding="utf-8")


def remove(folder: Path, *keys: str) -> None:
    """Take one key out of the manifest in `folder`."""
    path = folder / MANIFEST
    data = json.loads(path.read_text(encoding="utf-8"))
    place = data
    for key in keys[:-1]:
        place = place[key]
    del place[keys[-1]]
    path.write_text(json.dumps(data), encoding="utf-8")


def refused(folder: Path) -> str:
    """The one line with which the artifact in `folder` is refused."""
    with pytest.raises(ArtifactError) as caught:
        load_manifest(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    return message
