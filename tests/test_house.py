"""The layout of the repository, and what the package and its parts may bring with them."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edgewhisper

if TYPE_CHECKING:
    from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
ROOMS = ("export", "quant", "runtime", "models")
# What a device does not have.
BUILD_PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "onnx",
    "onnx_ir",
    "safetensors",
    "huggingface_hub",
    "whisper",
    "ml_dtypes",
)
# All that the runtime may load: of the package, and of others' (what the four need themselves, and the two modules that
# Cython makes inside their extensions).
RUNTIME_PARTS = re.compile(r"edgewhisper(\.(artifact|atomic|errors|runtime(\..+)?))?")
RUNTIME_PACKAGES = {
    *("numpy", "onnxruntime", "soundfile", "soxr"),
    *("cffi", "_cffi_backend", "_soundfile", "_soundfile_data", "flatbuffers", "google", "packaging"),
    *("typing_extensions", "cython_runtime", "_cython"),
}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("room", ROOMS)
def test_a_link_at_the_top_leads_to_the_room_of_the_package(room: str) -> None:
    link = ROOT / room
    assert link.is_symlink()
    assert os.readlink(link) == f"edgewhisper/{room}"
    assert (link / "__init__.py").samefile(Path(edgewhisper.__file__).parent / room / "__init__.py")


def test_ruff_sees_each_file_once() -> None:
    seen = run(sys.executable, "-m", "ruff", "check", "--show-files").split()
    assert len(seen) == len({os.path.realpath(path) for path in seen})
    assert {Path(path).resolve() for path in seen if path.endswith(".py")} == set(python_files())


def test_mypy_sees_each_file_once() -> None:
    from mypy.find_sources import create_source_list
    from mypy.fscache import FileSystemCache
    from mypy.options import Options

    configured = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    options = Options()
    options.explicit_package_bases = configured["explicit_package_bases"]
    options.mypy_path = [str(ROOT)]
    sources = create_source_list(
        [str(ROOT / name) for name in configured["files"]], options, FileSystemCache()
    )
    paths = [os.path.realpath(source.path or "") for source in sources]
    assert sorted(paths) == sorted(map(str, python_files()))
    modules = [source.module for source in sources]
    assert len(set(modules)) == len(modules)


def test_pytest_sees_each_file_once() -> None:
    collected = run(sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider")
    files = {line.partition("::")[0] for line in collected.splitlines() if "::" in line}
    assert all(file.startswith("tests/") for file in files)
    nodes = [line for line in collected.splitlines() if "::" in line]
    assert len(nodes) == len(set(nodes))
    assert len({(ROOT / file).resolve() for file in files}) == len(files)


def python_files() -> list[Path]:
    return [path for folder in ("edgewhisper", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]


def test_the_package_exports_its_public_interface() -> None:
    assert edgewhisper.__all__ == [
        "DecodingOptions",
        "Listener",
        "Segment",
        "Transcriber",
        "TranscriptionInfo",
        "__version__",
        "build",
    ]
    for name in edgewhisper.__all__:
        assert getattr(edgewhisper, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Transcribers'"):
        edgewhisper.Transcribers  # noqa: B018


def test_the_installed_version_is_the_packages() -> None:
    assert importlib.metadata.version("edgewhisper") == edgewhisper.__version__
    assert f"## {edgewhisper.__version__}" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("statement", ["import edgewhisper.runtime", "from edgewhisper import Transcriber"])
def test_the_runtime_leaves_the_packages_of_the_build_host_alone(statement: str) -> None:
    loaded = json.loads(
        run(sys.executable, "-c", f"{statement}; import json, sys; print(json.dumps([*sys.modules]))")
    )
    assert "edgewhisper.runtime" in loaded
    assert not set(BUILD_PACKAGES) & set(loaded)


def test_the_runtime_imports_only_what_a_device_has() -> None:
    """Every module of it, even those that a plain transcription does not need."""
    code = (
        "import importlib, json, pkgutil, sys; before = {*sys.modules}; import edgewhisper.runtime as runtime\n"
        "for module in pkgutil.walk_packages(runtime.__path__, 'edgewhisper.runtime.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(json.dumps([*{*sys.modules} - before]))"
    )
    loaded = json.loads(run(sys.executable, "-c", code))
    assert "edgewhisper.runtime.transcriber" in loaded
    assert_only_the_runtime(loaded)


def assert_only_the_runtime(loaded: Sequence[str]) -> None:
    """`loaded` are names that came into `sys.modules`."""
    ours = {name for name in loaded if name.partition(".")[0] == "edgewhisper"}
    assert {name for name in ours if not RUNTIME_PARTS.fullmatch(name)} == set()
    others = {re.sub(r"^(_cython)_\d.*|\..*", r"\1", name) for name in {*loaded} - ours}
    assert others - sys.stdlib_module_names - RUNTIME_PACKAGES == set()


def test_help_loads_neither_the_runtime_nor_the_build() -> None:
    code = (
        "import json, sys; from edgewhisper.cli.main import main; main(['--help']); main(['transcribe', '--help']);"
        "print(json.dumps([*sys.modules]))"
    )
    loaded = json.loads(run(sys.executable, "-c", code).splitlines()[-1])
    assert not {*BUILD_PACKAGES, "onnxruntime", "soundfile", "soxr"} & set(loaded)


@pytest.mark.parametrize("extra", ["cpu", "gpu"])
def test_broken_versions_of_onnx_runtime_are_excluded(extra: str) -> None:
    from packaging.requirements import Requirement

    (requirement,) = map(
        Requirement,
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"][extra],
    )
    versions = (
        "1.21.0",
        "1.24.1",
        "1.24.4",
        "1.25.0",
        "1.25.1",
        "1.26.0",
        "1.27.0",
        "1.28.0",
        "1.29.0",
        "1.30.0",
        "1.32.0",
    )
    allowed = [version for version in versions if version in requirement.specifier]
    assert allowed == ["1.24.4", "1.28.0", "1.30.0", "1.32.0"]


@pytest.mark.parametrize("name", ["runtime", "build", "dev", "baselines", "openvino"])
def test_constraints_name_exact_versions(name: str) -> None:
    assert constraints(name)
    for pin in constraints(name):
        assert re.fullmatch(r"==[0-9][A-Za-z0-9.]*", str(pin.specifier)), pin


@pytest.mark.parametrize("name", ["runtime", "build", "dev"])
def test_the_environment_of_the_tests_is_the_constrained_one(name: str) -> None:
    for pin in constraints(name):
        if pin.marker is None or pin.marker.evaluate():
            assert importlib.metadata.version(pin.name) in pin.specifier, pin


@pytest.mark.parametrize(("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64")])
def test_what_has_no_build_for_other_machines_is_not_demanded_there(system: str, machine: str) -> None:
    there = {"sys_platform": system, "platform_machine": machine}
    demanded = {pin.name for pin in constraints("dev") if pin.marker is None or pin.marker.evaluate(there)}
    assert "torch" in demanded
    assert "triton" not in demanded


def constraints(name: str) -> "list[Requirement]":
    """The pins of one file of constraints, without those of the files that it includes."""
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints" / f"{name}.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-c "))]


@pytest.mark.slow
def test_the_runtime_works_where_only_base_and_cpu_are_installed(
    tmp_path: Path, demo_artifact: Path, speech: Path
) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints" / "runtime.txt", f"{ROOT}[cpu]")
    code = (
        "import json, sys; before = {*sys.modules}\n"
        "from edgewhisper import Transcriber\n"
        "segments, _ = Transcriber(sys.argv[1]).transcribe(sys.argv[2])\n"
        "print(json.dumps([''.join(segment.text for segment in segments), [*{*sys.modules} - before]]))"
    )
    text, loaded = json.loads(run(python, "-I", "-c", code, demo_artifact, speech, cwd=tmp_path))
    assert text.strip()
    assert_only_the_runtime(loaded)
    assert (
        run(python.with_name("edgewhisper"), "transcribe", speech, "-a", demo_artifact).strip()
        == text.strip()
    )
