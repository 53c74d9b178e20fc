"""Damaged manifests: whatever their bytes, they are read or refused in one line."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewhisper import artifact
from edgewhisper.artifact import (
    load_manifest,
)
from edgewhisper.errors import ArtifactError
from tests.small_artifacts import edit, refused, remove, sound_manifest, write_artifact, write_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact that a test may break."""
    write_artifact(tmp_path / "model")
    return tmp_path / "model"


def json_paths(value: Any, prefix: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value inside parsed JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*prefix, key)
        yield from json_paths(item, (*prefix, key))


SOUND = json.loads(sound_manifest().to_json())
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def load_or_refuse(folder: Path) -> None:
    try:
        load_manifest(folder)
    except ArtifactError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


@given(path=st.sampled_from(list(json_paths(SOUND))), value=anything)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_manifest_with_any_value_anywhere_is_read_or_refused(
    folder: Path, path: tuple[str | int, ...], value: Any
) -> None:
    write_manifest(folder, sound_manifest())
    edit(folder, *path, value=value)
    load_or_refuse(folder)


@given(data=st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_manifest_of_any_bytes_is_refused(folder: Path, data: bytes) -> None:
    (folder / artifact.MANIFEST).write_bytes(data)
    refused(folder)


@given(position=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_manifest_with_one_wrong_byte_or_a_missing_end_is_read_or_refused(
    folder: Path, position: int, byte: int, cut: bool
) -> None:
    data = bytearray(sound_manifest().to_json().encode())
    position %= len(data)
    if cut:
        del data[position:]
    else:
        data[position] = byte
    (folder / artifact.MANIFEST).write_bytes(data)
    load_or_refuse(folder)


def test_deeply_nested_json_is_refused(folder: Path) -> None:
    (folder / artifact.MANIFEST).write_text("[" * 100_000)
    assert "not JSON" in refused(folder)


@pytest.mark.parametrize("key", ["model", "dimensions", "tokens", "audio", "graphs", "files", "build"])
def test_a_missing_key_is_named(folder: Path, key: str) -> None:
    remove(folder, key)
    assert f"'{key}' is missing" in refused(folder)


def test_a_key_of_the_wrong_type_is_named(folder: Path) -> None:
    edit(folder, "dimensions", "d_model", value="64")
    assert "dimensions: d_model: must be int" in refused(folder)


def test_true_is_not_a_number(folder: Path) -> None:
    edit(folder, "dimensions", "d_model", value=True)
    assert "must be int" in refused(folder)


@pytest.mark.parametrize("value", [0, -160])
def test_a_constant_that_no_model_has_is_named(folder: Path, value: int) -> None:
    edit(folder, "audio", "hop_length", value=value)
    assert "'hop_length'" in refused(folder)


def test_a_folder_that_is_not_there_is_told_from_one_that_is_no_artifact(folder: Path) -> None:
    (folder / artifact.MANIFEST).unlink()
    assert "no manifest.json" in refused(folder)
    shutil.rmtree(folder)
    assert "no such artifact folder" in refused(folder)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(b"RIFF")
    assert "no such artifact folder" in refused(path)


def test_a_manifest_that_cannot_be_read_is_refused(folder: Path) -> None:
    (folder / artifact.MANIFEST).unlink()
    (folder / artifact.MANIFEST).mkdir()
    assert "cannot be read" in refused(folder)
