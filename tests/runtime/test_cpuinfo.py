"""What processors tell of themselves, on machines that are not this one."""

import platform
from pathlib import Path

import pytest

from edgewhisper.runtime.cpuinfo import read_cpuinfo
from edgewhisper.runtime.processor import host_target, target_mismatch
from tests.deploy.trees import PI_4, PI_5, PI_ZERO_2, ROCK_5B, X86, auxiliary_vector, write_files


@pytest.mark.parametrize(
    ("cpuinfo", "name", "dotprod"),
    [
        (4 * PI_4, "Cortex-A72", False),
        (4 * PI_5, "Cortex-A76", True),
        (4 * PI_ZERO_2, "Cortex-A53", False),
        (ROCK_5B, "4 × Cortex-A55 + 4 × Cortex-A76", True),
        (PI_4.replace("0x41", "0x61").replace("0xd08", "0x022"), "Arm processor 0x61/0x022", False),
    ],
)
def test_arm_boards_are_named_by_their_cores(tmp_path: Path, cpuinfo: str, name: str, dotprod: bool) -> None:
    found = read_cpuinfo(write_files(tmp_path, {"proc/cpuinfo": cpuinfo}), "aarch64")
    assert (found.name, "asimddp" in found.flags) == (name, dotprod)
    assert found.is_arm64
    assert not found.emulated
    assert host_target(found) == "arm64"


def test_x86_is_named_by_its_maker(tmp_path: Path) -> None:
    found = read_cpuinfo(write_files(tmp_path, {"proc/cpuinfo": X86}), "x86_64")
    assert found.name == "Intel(R) N100"
    assert host_target(found) == "x86-vnni"
    assert target_mismatch("x86-vnni", "cpu", found) is None
    assert "--target x86-vnni" in (target_mismatch("arm64", "cpu", found) or "")


@pytest.mark.parametrize("where", ["proc/device-tree/model", "proc/cpuinfo"])
def test_a_boards_name_comes_from_its_device_tree_or_its_kernel(tmp_path: Path, where: str) -> None:
    name = "Raspberry Pi 5 Model B Rev 1.0"
    text = f"{name}\0" if where.endswith("model") else f"{PI_5}Model\t\t: {name}\n"
    assert read_cpuinfo(write_files(tmp_path, {where: text}), "aarch64").board == name


def test_an_emulated_processor_is_told_by_the_kernel_that_answers(tmp_path: Path) -> None:
    """User-mode emulation shows the host's /proc/cpuinfo, and the emulated processor's auxiliary vector."""
    write_files(tmp_path, {"proc/cpuinfo": X86, "proc/self/auxv": ""})
    (tmp_path / "proc/self/auxv").write_bytes(auxiliary_vector(1 << 1 | 1 << 20, 1 << 13))
    found = read_cpuinfo(tmp_path, "aarch64")
    assert found.emulated
    assert found.flags == {"asimd", "asimddp", "i8mm"}
    assert found.name == ""


def test_a_system_that_tells_nothing_gives_nothing(tmp_path: Path) -> None:
    found = read_cpuinfo(tmp_path, "x86_64")
    assert (found.name, found.flags, found.board, found.emulated) == ("", frozenset(), None, False)


def test_this_machine_tells() -> None:
    found = read_cpuinfo()
    assert found.architecture == platform.machine().lower()
    assert found.flags
