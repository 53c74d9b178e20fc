"""ONNX Runtime and the other packages: loaded, computed with, and known versions."""

import sys
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.artifact import Manifest
from edgewhisper.deploy.doctor.engine import Engine, check_version, find_flaw, try_engine, version_numbers
from edgewhisper.deploy.doctor.host import Host, this_host
from edgewhisper.deploy.doctor.products import product_graph
from edgewhisper.runtime.cpuinfo import CpuInfo
from tests.deploy.crashes import needs_illegal_instruction
from tests.deploy.trees import PI_4 as CPUINFO
from tests.deploy.trees import meminfo, raspberry_pi
from tests.small_artifacts import sound_manifest

ROOT = Path(__file__).parents[2]
PI_4 = CpuInfo("aarch64", "Cortex-A72", frozenset({"asimd"}))
PI_5 = CpuInfo("aarch64", "Cortex-A76", frozenset({"asimd", "asimddp"}))
WITH_SME = CpuInfo("aarch64", "", frozenset({"asimd", "asimddp", "sme"}))
X86 = CpuInfo("x86_64", "", frozenset({"avx2"}))
FREE = 500_000_000


def with_precision(precision: str, least: str = "1.20.0") -> Manifest:
    manifest = sound_manifest()
    graph = replace(manifest.graphs["encoder"], precision=precision, min_onnxruntime=least)
    return replace(manifest, graphs={"encoder": graph})


def problems(engine: Engine) -> list[str]:
    return [check.problem for check in engine.checks if check.problem]


def test_what_is_installed_here_loads_and_computes() -> None:
    engine = try_engine(this_host(), FREE, None)
    assert engine.works
    assert engine.version == ort.__version__
    assert engine.rates is not None
    assert min(engine.rates.int8, engine.rates.fp32, engine.rates.bandwidth) > 1e6
    assert problems(engine) == []


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts another package in the place of one that is installed."""

    def install(package: str, code: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, package, raising=False)

    return install


@needs_illegal_instruction
@pytest.mark.parametrize("package", ["onnxruntime", "numpy"])
def test_a_package_that_ends_with_an_illegal_instruction_is_named(
    installed: Callable[[str, str], None], package: str
) -> None:
    installed(package, "from tests.deploy.crashes import illegal_instruction; illegal_instruction()")
    engine = try_engine(this_host(), FREE, None)
    assert problems(engine) == ["illegal-instruction"]
    assert f"loading {package}" in engine.checks[0].found
    assert "SIGILL" in engine.checks[0].found
    assert not engine.works


@needs_illegal_instruction
def test_a_crash_of_a_version_that_is_known_for_it_is_told_as_such(
    installed: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed("onnxruntime", "from tests.deploy.crashes import illegal_instruction; illegal_instruction()")
    monkeypatch.setattr("importlib.metadata.version", lambda package: "1.21.0")
    pi_4 = Host(raspberry_pi(tmp_path / "pi", CPUINFO, "Raspberry Pi 4", meminfo(3792, 3400)), "aarch64", 64)
    engine = try_engine(pi_4, FREE, None)
    assert problems(engine) == ["illegal-instruction", "onnxruntime-broken"]
    assert engine.version == "1.21.0"
    assert "loading onnxruntime 1.21.0" in engine.checks[0].found


@pytest.mark.parametrize("package", ["onnxruntime", "soundfile"])
def test_a_package_that_is_not_there_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    engine = try_engine(this_host(), FREE, None)
    assert problems(engine) == ["package-missing"]
    assert engine.checks[0].found == f"{package} is not installed"
    assert not engine.works


@pytest.mark.parametrize(
    ("package", "code", "words"),
    [
        ("onnxruntime", "raise ImportError('onnxruntime.so: wrong ELF class: ELFCLASS32')", "ELFCLASS32"),
        ("onnxruntime", "import no_such_part_of_it", "no_such_part_of_it"),
        ("soundfile", "raise OSError('sndfile library not found')", "sndfile library not found"),
    ],
)
def test_a_package_that_does_not_load_is_named_with_the_reason(
    installed: Callable[[str, str], None], package: str, code: str, words: str
) -> None:
    installed(package, code)
    engine = try_engine(this_host(), FREE, None)
    assert problems(engine) == ["package-broken"]
    assert words in engine.checks[0].found
    assert engine.checks[0].found.startswith(f"{package} ")


def test_versions_are_bad_as_the_project_says() -> None:
    """What pyproject.toml leaves out is known here, and nothing else from 1.24.4 on."""
    from packaging.requirements import Requirement

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (requirement,) = map(Requirement, extras["cpu"])
    for minor in range(20, 40):
        for patch in range(6):
            version = f"1.{minor}.{patch}"
            known = find_flaw(version) is not None or version_numbers(version) < (1, 24, 4)
            assert known is (version not in requirement.specifier), version


@pytest.mark.parametrize(
    ("version", "processor", "precision", "problem"),
    [
        ("1.21.0", PI_4, "int8", "onnxruntime-broken"),
        ("1.21.0", PI_5, "int8", "onnxruntime-flawed"),
        ("1.21.0", X86, "int8", "onnxruntime-flawed"),
        ("1.22.1", PI_4, "int8", "onnxruntime-untested"),
        ("1.24.1", PI_4, "int8", "onnxruntime-broken"),
        ("1.24.4", PI_4, "int8", ""),
        ("1.25.1", WITH_SME, "int8", "onnxruntime-broken"),
        ("1.26.0", PI_5, "int8", "onnxruntime-flawed"),
        ("1.27.0", WITH_SME, "fp32", "onnxruntime-broken"),
        ("1.27.1", WITH_SME, "fp32", ""),
        ("1.29.1", X86, "fp16", "onnxruntime-broken"),
        ("1.29.1", X86, "int8", "onnxruntime-flawed"),
        ("1.29.1", PI_5, "fp16", "onnxruntime-flawed"),
        ("1.32.0", X86, "fp16", ""),
        ("1.33.0.dev20261101", X86, "int8", ""),
    ],
)
def test_a_version_is_judged_by_processor_and_precision(
    version: str, processor: CpuInfo, precision: str, problem: str
) -> None:
    (check,) = check_version(version, processor, with_precision(precision))
    assert check.problem == problem
    assert version in check.found


def test_an_artifact_that_needs_a_newer_version_is_told() -> None:
    (check,) = check_version("1.24.4", PI_5, with_precision("int8", "1.31.0"))
    assert (check.problem, check.found) == ("onnxruntime-too-old", "1.24.4; the artifact needs 1.31.0")
    (check,) = check_version("1.31.0", PI_5, with_precision("int8", "1.31.0"))
    assert check.status == "ok"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=4), st.sampled_from(["", "rc1", ".dev3", "+cpu"]))
def test_the_numbers_of_a_version_are_read_whatever_follows(numbers: list[int], rest: str) -> None:
    assert version_numbers(".".join(map(str, numbers)) + rest) == tuple(numbers)


@given(st.tuples(*[st.integers(1, 300)] * 3), st.booleans())
def test_products_are_valid_models_with_the_right_results(shape: tuple[int, int, int], int8: bool) -> None:
    rows, inner, columns = shape
    model = product_graph(rows, inner, columns, int8=int8)
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    if rows * inner * columns > 10**6:
        return
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    random = np.random.default_rng(rows)
    x = random.integers(0, 100, (rows, inner)).astype(np.uint8 if int8 else np.float32)
    w = random.integers(-60, 60, (inner, columns)).astype(np.int8 if int8 else np.float32)
    (y,) = session.run(None, {"x": x, "w": w})
    np.testing.assert_array_equal(y, x.astype(np.int64) @ w.astype(np.int64))
