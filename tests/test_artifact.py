"""The artifact's contract: what a manifest holds, its versions, and the files it names."""

import dataclasses
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewhisper import artifact
from edgewhisper.artifact import (
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
    verify_file,
)
from edgewhisper.errors import ArtifactError, IntegrityError
from tests.small_artifacts import (
    WEIGHTS,
    edit,
    refused,
    sound_manifest,
    write_artifact,
    write_manifest,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact that a test may break."""
    write_artifact(tmp_path / "model")
    return tmp_path / "model"


# Round trip

text = st.text(max_size=12)
ids = st.integers(0, 60_000)
positive = st.integers(1, 10_000)
names = st.from_regex(artifact.PLAIN_NAME, fullmatch=True).filter(lambda name: name != artifact.MANIFEST)
tensors = st.builds(
    TensorInfo, text, text, st.lists(st.one_of(st.integers(0, 9999), text), max_size=4).map(tuple)
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Any manifest that names only files that it lists."""
    files = draw(
        st.lists(
            st.builds(FileInfo, names, st.integers(0, 64), text),
            min_size=1,
            max_size=4,
            unique_by=lambda info: info.name.lower(),
        )
    )
    listed = st.sampled_from([info.name for info in files])
    location = st.builds(TensorLocation, listed, positive, text, st.lists(positive, max_size=2).map(tuple))
    graphs = st.builds(
        GraphInfo,
        file=listed,
        kind=text,
        precision=text,
        ops=st.sampled_from(["fused", "portable"]),
        opset=positive,
        inputs=st.lists(tensors, max_size=3).map(tuple),
        outputs=st.lists(tensors, max_size=3).map(tuple),
        weights=st.lists(listed, max_size=2).map(tuple),
        min_onnxruntime=text,
        embedding=st.none() | location,
    )
    return Manifest(
        model=draw(st.builds(ModelInfo)),
        dimensions=ModelDimensions(*(draw(positive) for _ in dataclasses.fields(ModelDimensions))),
        tokens=draw(st.builds(TokenIds, languages=st.dictionaries(text, ids, max_size=3))),
        audio=AudioSettings(
            n_mels=draw(positive),
            n_frames=draw(positive),
            time_precision=draw(st.floats(min_value=1e-6, max_value=10)),
        ),
        graphs=draw(st.dictionaries(text, graphs, max_size=3)),
        files=tuple(files),
        build=draw(st.builds(BuildInfo)),
    )


@given(manifest=manifests())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_manifest_survives_the_file(manifest: Manifest, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("artifact")
    for info in manifest.files:
        (folder / info.name).write_bytes(b"\0" * info.size)
    write_manifest(folder, manifest)
    assert load_manifest(folder) == manifest
    shutil.rmtree(folder)


def test_equal_manifests_are_equal_bytes_whatever_the_order_of_their_graphs() -> None:
    manifest = sound_manifest()
    graph = manifest.graphs["encoder"]
    first = dataclasses.replace(manifest, graphs={"encoder": graph, "decoder": graph})
    second = dataclasses.replace(manifest, graphs={"decoder": graph, "encoder": graph})
    assert first.to_json() == second.to_json()


def test_a_graph_that_the_artifact_lacks_is_named(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest.graph("encoder").file == "encoder.onnx"
    with pytest.raises(ArtifactError, match="'draft'"):
        manifest.graph("draft")


# Versions


@pytest.mark.parametrize("version", ["2.0", "10.3"])
def test_a_newer_major_version_is_refused(folder: Path, version: str) -> None:
    edit(folder, "format_version", value=version)
    assert "upgrade edgewhisper" in refused(folder)


@pytest.mark.parametrize(
    "version", [None, 1, "", "one", "1", "1.", "²·0", "1.0\n", "-1.0", "9" * 5000 + ".0"]
)
def test_what_is_no_version_is_refused(folder: Path, version: object) -> None:
    edit(folder, "format_version", value=version)
    assert "no valid 'format_version'" in refused(folder)


def test_a_newer_minor_version_is_read_without_what_is_unknown(folder: Path) -> None:
    before = load_manifest(folder)
    graph = dataclasses.asdict(before.graphs["encoder"])
    edit(folder, "format_version", value="1.7")
    edit(folder, "graphs", "align", value={**graph, "kind": "align", "teacher_forced": True})
    edit(folder, "tokens", "emphasis", value=[1, 2])
    edit(folder, "signature", value={"key": "abc"})
    after = load_manifest(folder)
    assert after.graphs["encoder"] == before.graphs["encoder"]
    assert after.graphs["align"].kind == "align"
    assert after.tokens == before.tokens


# Files


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "/etc/passwd",
        "sub/encoder.onnx",
        "..",
        ".",
        "",
        "a\\b",
        "C:evil",
        "a\0b",
        ".hidden",
        "x" * 5000,
        "\ud800",
    ],
)
def test_a_file_name_that_is_not_plain_is_refused(folder: Path, name: str) -> None:
    edit(folder, "files", 0, "name", value=name)
    edit(folder, "graphs", "encoder", "file", value=name)
    assert "is not a plain name" in refused(folder)


@pytest.mark.parametrize("key", ["file", "weights"])
def test_a_graph_may_not_name_a_file_without_a_checksum(folder: Path, key: str) -> None:
    edit(folder, "graphs", "encoder", key, value="other.bin" if key == "file" else ["other.bin"])
    assert "'other.bin', which has no checksum" in refused(folder)


def test_a_graph_may_not_leave_the_folder_even_without_being_listed(folder: Path) -> None:
    edit(folder, "graphs", "encoder", "weights", value=["../weights.bin"])
    assert "is not a plain name" in refused(folder)


@pytest.mark.parametrize(("name", "message"), [("../table", "not a plain name"), ("table", "no checksum")])
def test_an_embedding_table_lies_in_a_listed_file(folder: Path, name: str, message: str) -> None:
    edit(folder, "graphs", "encoder", "embedding", "file", value=name)
    assert message in refused(folder)


@pytest.mark.parametrize("name", ["encoder.onnx", "weights.bin"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name}: missing" in refused(folder)


def test_a_link_in_the_place_of_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / "weights.bin").rename(elsewhere)
    (folder / "weights.bin").symlink_to(elsewhere)
    assert "weights.bin: is a link, " in refused(folder)


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "weights.bin").unlink()
    (folder / "weights.bin").mkdir()
    assert "weights.bin: missing" in refused(folder)


def test_a_truncated_file_is_refused_with_both_sizes(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(WEIGHTS[:-1])
    with pytest.raises(IntegrityError, match=rf"{len(WEIGHTS) - 1} bytes instead of {len(WEIGHTS)}"):
        load_manifest(folder)


def test_verification_finds_one_wrong_bit(folder: Path) -> None:
    manifest = load_manifest(folder)
    for info in manifest.files:
        verify_file(folder, info)
    damaged = bytearray(WEIGHTS)
    damaged[7] ^= 1
    (folder / "weights.bin").write_bytes(damaged)
    load_manifest(folder)
    with pytest.raises(IntegrityError, match="wrong checksum"):
        verify_file(folder, manifest.files[-1])


def test_verification_of_a_file_that_is_gone_is_one_line(folder: Path) -> None:
    manifest = load_manifest(folder)
    (folder / "weights.bin").unlink()
    with pytest.raises(ArtifactError, match=r"weights\.bin: cannot be read \(No such file"):
        verify_file(folder, manifest.files[-1])
