"""The artifact's contract: what a manifest holds, what is refused, and that nothing is ever half-written."""

import dataclasses
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    TokenIds,
    atomic_file,
    atomic_folder,
    load_manifest,
    verify_file,
)
from edgewhisper.errors import ArtifactError, IntegrityError

WEIGHTS = b"weights of a very small model"
GRAPH = b"not a graph, and nobody loads it here"


def manifest_of(files: dict[str, bytes]) -> Manifest:
    """A manifest with one graph, `encoder.onnx`, that maps `weights.bin`."""
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
            )
        },
        files=tuple(
            FileInfo(name, len(data), hashlib.sha256(data).hexdigest())
            for name, data in sorted(files.items())
        ),
        build=BuildInfo(versions={"onnx": "1.20"}, options={"precision": "fp32"}, target="any"),
    )


def write(folder: Path, manifest: Manifest) -> None:
    (folder / artifact.MANIFEST).write_text(manifest.to_json(), encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact as the contract wants it."""
    folder = tmp_path / "model"
    folder.mkdir()
    files = {"encoder.onnx": GRAPH, "weights.bin": WEIGHTS}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write(folder, manifest_of(files))
    return folder


def edit(folder: Path, *keys: str | int, value: Any) -> None:
    """Set one value of the manifest in `folder`, as a person with an editor would."""
    path = folder / artifact.MANIFEST
    data = json.loads(path.read_text(encoding="utf-8"))
    place = data
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    path.write_text(json.dumps(data), encoding="utf-8")


def remove(folder: Path, *keys: str) -> None:
    path = folder / artifact.MANIFEST
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
    write(folder, manifest)
    assert load_manifest(folder) == manifest
    shutil.rmtree(folder)


def test_equal_manifests_are_equal_bytes_whatever_the_order_of_their_graphs() -> None:
    manifest = manifest_of({"encoder.onnx": GRAPH, "weights.bin": WEIGHTS})
    graph = manifest.graphs["encoder"]
    first = dataclasses.replace(manifest, graphs={"encoder": graph, "decoder": graph})
    second = dataclasses.replace(manifest, graphs={"decoder": graph, "encoder": graph})
    assert first.to_json() == second.to_json()


def test_a_graph_that_the_artifact_lacks_is_named(folder: Path) -> None:
    manifest = load_manifest(folder)
    assert manifest.graph("encoder").file == "encoder.onnx"
    with pytest.raises(ArtifactError, match="'draft'"):
        manifest.graph("draft")


# Damage


def json_paths(value: Any, prefix: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value inside parsed JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*prefix, key)
        yield from json_paths(item, (*prefix, key))


SOUND = json.loads(manifest_of({"encoder.onnx": GRAPH, "weights.bin": WEIGHTS}).to_json())
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
    write(folder, manifest_of({"encoder.onnx": GRAPH, "weights.bin": WEIGHTS}))
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
    data = bytearray(manifest_of({"encoder.onnx": GRAPH, "weights.bin": WEIGHTS}).to_json().encode())
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


@pytest.mark.parametrize("name", ["encoder.onnx", "weights.bin"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    assert f"{name}: missing" in refused(folder)


def test_a_link_in_the_place_of_a_file_is_refused(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (folder / "weights.bin").rename(elsewhere)
    (folder / "weights.bin").symlink_to(elsewhere)
    assert "weights.bin: missing" in refused(folder)


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


# Atomic writing


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` and its text."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert contents(tmp_path) == {"out.txt": "new"}


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path) == {"out.txt": "old"}


@pytest.fixture(params=["exchange", "two renames"])
def either_rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to replace a folder: systems without an exchange of names take two renames."""
    if request.param == "two renames":
        monkeypatch.setattr(artifact, "_exchange", lambda first, second: False)


@pytest.mark.usefixtures("either_rename")
def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model"
    for version in ("first", "second"):
        with atomic_folder(path) as temporary:
            (temporary / version).write_text(version)
    assert contents(tmp_path) == {"deep/model/second": "second"}
    assert os.listdir(path.parent) == ["model"]


@pytest.mark.usefixtures("either_rename")
def test_a_failure_keeps_the_old_folder_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")

    def fails() -> None:
        with atomic_folder(path) as temporary:
            (temporary / "a").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fails()
    assert contents(tmp_path) == {"model/a": "old"}
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.usefixtures("either_rename")
def test_a_link_to_a_folder_keeps_pointing_to_the_new_one(tmp_path: Path) -> None:
    path, link = tmp_path / "model", tmp_path / "current"
    path.mkdir()
    link.symlink_to(path)
    with atomic_folder(link) as temporary:
        (temporary / "a").write_text("new")
    assert link.is_symlink()
    assert contents(path) == {"a": "new"}
    assert sorted(os.listdir(tmp_path)) == ["current", "model"]


def test_a_name_with_pattern_characters_is_only_a_name(tmp_path: Path) -> None:
    neighbour = tmp_path / ".model1.99999999.tmp"
    neighbour.mkdir()
    with atomic_folder(tmp_path / "model[1]*") as temporary:
        (temporary / "a").write_text("new")
    assert neighbour.is_dir()
    assert contents(tmp_path) == {"model[1]*/a": "new"}


def killed(script: str, *arguments: str) -> None:
    """Run a script that kills itself with SIGKILL."""
    preamble = """
        import os, signal, sys
        from pathlib import Path
        from edgewhisper import artifact
        def die(*unused, **also_unused):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    code = textwrap.dedent(preamble) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


WRITE = """
    with artifact.atomic_folder(Path(sys.argv[1])) as temporary:
        (temporary / "a").write_text("new")
        (temporary / "b").write_text("new")
"""


@pytest.mark.parametrize(
    ("moment", "survivor"),
    [
        ("artifact._flush = die", "old"),
        ("artifact._exchange = die", "old"),
        ("artifact.shutil.rmtree = die", "new"),
    ],
)
def test_a_kill_leaves_the_old_folder_or_the_new_one(tmp_path: Path, moment: str, survivor: str) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    killed(moment + textwrap.dedent(WRITE), str(path))
    assert set(contents(path).values()) == {survivor}
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("later")
    assert contents(tmp_path) == {"model/a": "later"}, "the next build clears away what the kill left"


def test_the_old_folder_comes_back_after_a_kill_between_two_renames(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    script = """
        artifact._exchange = lambda first, second: False
        rename = Path.rename
        Path.rename = lambda path, target: (rename(path, target), die())
    """
    killed(textwrap.dedent(script) + textwrap.dedent(WRITE), str(path))
    assert not path.exists()
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(path):
        raise RuntimeError("stop")
    assert contents(tmp_path) == {"model/a": "old"}


def test_a_folder_that_another_process_is_writing_stays(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        theirs = tmp_path / f".model.{other.pid}.tmp"
        theirs.mkdir()
        with atomic_folder(tmp_path / "model") as temporary:
            (temporary / "a").write_text("mine")
        assert theirs.is_dir()
    finally:
        other.communicate()
