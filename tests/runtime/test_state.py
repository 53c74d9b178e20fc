"""What a device remembers, and the verification of artifacts that it remembers."""

import os
from pathlib import Path

import pytest

from edgewhisper import artifact
from edgewhisper.artifact import AudioSettings, BuildInfo, FileInfo, Manifest, ModelInfo, sha256_of
from edgewhisper.errors import IntegrityError
from edgewhisper.runtime import verification
from edgewhisper.runtime.state import FILE, DeviceState, state_folder
from edgewhisper.runtime.verification import verify_files
from tests.scripted import DIMENSIONS, TOKENS


def test_what_was_put_is_there_in_the_next_run(tmp_path: Path) -> None:
    DeviceState(tmp_path / "new").put("probes", {"rows": [1, 2]})
    assert DeviceState(tmp_path / "new").get("probes", "rows") == [1, 2]


def test_unknown_keys_are_none(tmp_path: Path) -> None:
    assert DeviceState(tmp_path).get("probes", "rows") is None


def test_values_of_two_processes_both_stay(tmp_path: Path) -> None:
    first, second = DeviceState(tmp_path), DeviceState(tmp_path)
    first.put("probes", {"a": 1})
    second.put("probes", {"b": 2})
    assert [DeviceState(tmp_path).get("probes", key) for key in "ab"] == [1, 2]


def test_the_file_does_not_grow_for_ever(tmp_path: Path) -> None:
    state = DeviceState(tmp_path)
    state.put("verified", {str(i): i for i in range(3000)})
    state.put("verified", {"new": 1})
    assert (tmp_path / FILE).stat().st_size < 50_000
    assert DeviceState(tmp_path).get("verified", "new") == 1


@pytest.mark.parametrize(
    "content", [b"", b"[1]", b'{"probes": 3}', b"\xff\xfe", b'{"probes": {"rows": ', b"[" * 100_000]
)
def test_a_damaged_file_is_forgotten_and_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    state = DeviceState(tmp_path)
    assert state.get("probes", "rows") is None
    state.put("probes", {"rows": 2})
    assert DeviceState(tmp_path).get("probes", "rows") == 2


def test_where_nothing_can_be_written_memory_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    state = DeviceState(tmp_path / "file")
    state.put("probes", {"rows": 2})
    assert state.get("probes", "rows") == 2


def test_without_a_folder_memory_does() -> None:
    state = DeviceState(None)
    state.put("probes", {"rows": 2})
    assert state.get("probes", "rows") == 2


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EDGEWHISPER_STATE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder() == tmp_path / ".local" / "state" / "edgewhisper"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_folder() == tmp_path / ".local" / "state" / "edgewhisper"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_folder() == tmp_path / "xdg" / "edgewhisper"
    monkeypatch.setenv("EDGEWHISPER_STATE", str(tmp_path / "own"))
    assert state_folder() == tmp_path / "own"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    for name in ("weights.bin", "decoder.onnx"):
        (tmp_path / name).write_bytes(name.encode() * 100)
    paths = [tmp_path / name for name in ("weights.bin", "decoder.onnx")]
    files = tuple(FileInfo(path.name, path.stat().st_size, sha256_of(path)) for path in paths)
    model = ModelInfo(name="small", source="random", checkpoint_sha256="0" * 64)
    build = BuildInfo(versions={}, options={}, target="any")
    return Manifest(model, DIMENSIONS, TOKENS, AudioSettings(n_mels=4, n_frames=200), {}, files, build)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def verify(folder: Path, info: FileInfo) -> None:
        names.append(info.name)
        artifact.verify_file(folder, info)

    monkeypatch.setattr(verification, "verify_file", verify)
    return names


def test_files_are_hashed_once(tmp_path: Path, manifest: Manifest, hashed: list[str]) -> None:
    for _ in range(3):
        verify_files(tmp_path, manifest.files, DeviceState(tmp_path / "state"))
    assert hashed == ["weights.bin", "decoder.onnx"]


def test_files_are_hashed_again_when_asked(tmp_path: Path, manifest: Manifest, hashed: list[str]) -> None:
    for _ in range(2):
        verify_files(tmp_path, manifest.files, DeviceState(tmp_path / "state"), again=True)
    assert len(hashed) == 4


def test_a_file_changed_after_it_was_verified_is_found(tmp_path: Path, manifest: Manifest) -> None:
    state = DeviceState(tmp_path / "state")
    verify_files(tmp_path, manifest.files, state)
    path = tmp_path / "weights.bin"
    content = bytearray(path.read_bytes())
    content[7] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    with pytest.raises(IntegrityError, match=r"weights\.bin: wrong checksum"):
        verify_files(tmp_path, manifest.files, state)


def test_a_damaged_file_is_not_remembered_as_good(tmp_path: Path, manifest: Manifest) -> None:
    (tmp_path / "weights.bin").write_bytes(b"x" * 1100)
    for _ in range(2):
        with pytest.raises(IntegrityError):
            verify_files(tmp_path, manifest.files, DeviceState(tmp_path / "state"))


def test_a_manifest_with_another_checksum_is_verified_anew(tmp_path: Path, manifest: Manifest) -> None:
    import dataclasses

    state = DeviceState(tmp_path / "state")
    verify_files(tmp_path, manifest.files, state)
    other = dataclasses.replace(manifest.files[0], sha256="0" * 64)
    with pytest.raises(IntegrityError):
        verify_files(tmp_path, (other,), state)
