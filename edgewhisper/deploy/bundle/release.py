"""A release: the folder that lies below /opt/edgewhisper on a device, the same in the tarball and in the Debian package."""

import hashlib
import importlib.metadata
import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email.parser import HeaderParser
from pathlib import Path

import edgewhisper
from edgewhisper.artifact import MEASURED, Manifest, sha256_of
from edgewhisper.errors import BuildError
from edgewhisper.runtime.memory_budget import draft_memory, transcription_memory

from .names import MACHINE, BundleName
from .self_test import ARTIFACT, EXPECTED, RECORDING, understood, words
from .wheels import compiled_in, licence_files, unpack_wheel

SUMS = "SHA256SUMS"
SETTINGS = "release.conf"
UNIT_FOLDER = "systemd"
_HERE = Path(__file__).parent
_PACKAGE = Path(edgewhisper.__file__).parent
_SELF_TEST_RECORDING = _PACKAGE / "models" / "demo" / "recordings" / "seen-000.flac"
_UNIT_FILES = _PACKAGE / "deploy" / UNIT_FOLDER
_SCRIPTS = ("bin/edgewhisper", "bin/edgewhisper-self-test", "uninstall.sh")
_BLOCK = 4096  # bytes; the smallest piece of disk on ext4 and FAT
# What Python compiles at the first run, which the self-test is: 3 MB of modules were measured; `listen` and `serve` add some.
_COMPILED = 12_000_000


def write_release(
    tree: Path, name: BundleName, artifact: Path, manifest: Manifest, wheels: Sequence[Path]
) -> None:
    """Fill the empty folder `tree`; the same arguments give the same bytes.

    The self-test's text is what the artifact gives here.

    Raises:
        EdgeWhisperError: the artifact does not run here or understands nothing, or a wheel is damaged.
    """
    shutil.copytree(_HERE / "tree", tree, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    for script in _SCRIPTS:
        (tree / script).chmod(0o755)
    lib = tree / "lib"
    for wheel in wheels:
        unpack_wheel(wheel, lib)
    _copy_package(lib / "edgewhisper")
    shutil.copytree(artifact, tree / ARTIFACT, ignore=shutil.ignore_patterns(MEASURED))
    if _UNIT_FILES.is_dir():
        shutil.copytree(_UNIT_FILES, tree / UNIT_FOLDER)
    _write_licences(tree / "licenses", lib, manifest)
    _write_self_test(tree, manifest)
    _write_settings(tree, name)
    (tree / SUMS).write_text(
        "".join(f"{sha256_of(tree / path)}  {path}\n" for path in files_of(tree)), encoding="utf-8"
    )


def files_of(tree: Path) -> list[str]:
    """The paths of all files below `tree`, relative to it, in order."""
    return sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file())


def digest_of(tree: Path) -> str:
    """The SHA-256 of a release: of its checksums."""
    return hashlib.sha256((tree / SUMS).read_bytes()).hexdigest()


def size_on_disk(tree: Path) -> int:
    """Bytes that the files of `tree` occupy."""
    return sum(-(-(tree / path).stat().st_size // _BLOCK) * _BLOCK for path in files_of(tree))


def _copy_package(target: Path) -> None:
    """The package's code, and of its other files only the small ones: the bundled checkpoint is for build hosts."""
    for source in sorted(_PACKAGE.rglob("*")):
        path = source.relative_to(_PACKAGE)
        if path.parts[:2] == ("models", "demo") or "__pycache__" in path.parts or source.is_dir():
            continue
        if path.parts[:2] in {("deploy", UNIT_FOLDER)} or path.parts[:3] == ("deploy", "bundle", "tree"):
            continue
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target / path)


def _write_licences(folder: Path, lib: Path, manifest: Manifest) -> None:
    for name, path in licence_files(lib):
        _copy(path, folder / name / path.relative_to(lib))
    for package, path in compiled_in(lib):
        _copy(path, folder / package / path.name)
    own = importlib.metadata.distribution("edgewhisper").read_text("licenses/LICENSE")
    (folder / "edgewhisper").mkdir(parents=True)
    (folder / "edgewhisper" / "LICENSE").write_text(own or "MIT\n", encoding="utf-8")
    lines = [f"edgewhisper {edgewhisper.__version__}: MIT"]
    lines += [f"the model {manifest.model.name}: {manifest.model.licence or 'licence not stated'}"]
    lines += ["the recording of the self-test: MIT", *_package_lines(lib)]
    lines += [f"in {package}: {path.stem}, MIT" for package, path in compiled_in(lib)]
    (folder / "PACKAGES.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _package_lines(lib: Path) -> Iterator[str]:
    for path in sorted(lib.glob("*.dist-info/METADATA")):
        headers = HeaderParser().parsestr(path.read_text(encoding="utf-8"))
        kinds = [value.split(" :: ")[-1] for value in headers.get_all("Classifier", []) if "License" in value]
        licence = headers["License-Expression"] or ", ".join(kinds) or headers["License"]
        yield f"{headers['Name']} {headers['Version']}: {licence}"


def _write_self_test(tree: Path, manifest: Manifest) -> None:
    shutil.copyfile(_SELF_TEST_RECORDING, tree / RECORDING)
    precisions = (manifest.graph("encoder").precision, manifest.graph("decoder").precision)
    memory = transcription_memory(manifest.dimensions, *precisions, low_memory=True) + draft_memory(manifest)
    with _without_warnings():
        text = understood(tree / ARTIFACT, tree / RECORDING)
    if not words(text):
        raise BuildError(
            f"{_SELF_TEST_RECORDING.name}: this model understood nothing of the self-test's recording, and a device could not "
            "tell whether it works; bundle a model that was trained"
        )
    expected = {"text": text, "memory": memory}
    (tree / EXPECTED).write_text(
        json.dumps(expected, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """That graphs for arm64 are slow here goes without saying."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _write_settings(tree: Path, name: BundleName) -> None:
    """What install.sh and the command read: lines of KEY=VALUE, without quotes."""
    settings = {
        "version": name.version,
        "package": name.package,
        "python": name.python,
        "machine": MACHINE,
        "disk_kb": (size_on_disk(tree) + _COMPILED) // 1000,
    }
    (tree / SETTINGS).write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
