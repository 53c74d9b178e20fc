"""Processor, cores, heat, memory and disk, on constructed boards and on this machine."""

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgewhisper.artifact import load_manifest
from edgewhisper.deploy.doctor.checks import Check
from edgewhisper.deploy.doctor.host import Cores, Host, this_host
from edgewhisper.deploy.doctor.processor import check_cores, check_power, check_processor, features
from edgewhisper.deploy.doctor.storage import Need, check_disk, check_memory, check_state, memory_needed
from edgewhisper.runtime.memory import available_memory
from tests.deploy.trees import (
    PI_4,
    PI_5,
    PI_ZERO_2,
    ROCK_5B,
    X86,
    auxiliary_vector,
    cpus,
    meminfo,
    raspberry_pi,
    write_files,
)

MEGABYTE = 1 << 20


@pytest.fixture
def pi_4(tmp_path: Path) -> Host:
    model = "Raspberry Pi 4 Model B Rev 1.1"
    return Host(raspberry_pi(tmp_path / "pi4", PI_4, model, meminfo(3792, 3400)), "aarch64", 64)


@pytest.fixture
def pi_5(tmp_path: Path) -> Host:
    model = "Raspberry Pi 5 Model B Rev 1.0"
    return Host(raspberry_pi(tmp_path / "pi5", PI_5, model, meminfo(8064, 7600)), "aarch64", 64)


@pytest.fixture
def pi_zero_2(tmp_path: Path) -> Host:
    model, memory = "Raspberry Pi Zero 2 W Rev 1.0", meminfo(416, 260, 100)
    return Host(raspberry_pi(tmp_path / "zero", PI_ZERO_2, model, memory, "50005"), "aarch64", 64)


def x86(tmp_path: Path) -> Host:
    return Host(write_files(tmp_path / "x86", {"proc/cpuinfo": X86} | cpus(4)), "x86_64", 64)


def only(checks: list[Check]) -> Check:
    (check,) = checks
    return check


def test_a_pi_4_is_without_dot_products(pi_4: Host) -> None:
    check = only(check_processor(pi_4))
    assert (check.status, check.found) == ("ok", "Cortex-A72, aarch64; target arm64")
    assert pi_4.processor.board == "Raspberry Pi 4 Model B Rev 1.1"
    assert features(pi_4) == ()
    assert pi_4.cores.threads == 4


def test_a_pi_5_has_dot_products_and_half_precision(pi_5: Host) -> None:
    assert only(check_processor(pi_5)).found == "Cortex-A76, aarch64, dotprod, fp16; target arm64"
    assert only(check_cores(pi_5)).found == "4, up to 1800 MHz, governor ondemand"


def test_a_pi_zero_2_with_a_weak_supply_is_told_so(pi_zero_2: Host) -> None:
    warm, power = check_power(pi_zero_2)
    assert (warm.status, warm.found) == ("ok", "48 °C")
    assert (power.problem, power.found) == ("throttled", "now: under-voltage, throttled")


def test_a_board_that_was_throttled_before_is_told_so(pi_4: Host) -> None:
    write_files(pi_4.root, {"sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n"})
    assert check_power(pi_4)[1].problem == "was-throttled"


def test_a_board_with_a_good_supply_is_fine(pi_5: Host) -> None:
    assert [check.status for check in check_power(pi_5)] == ["ok", "ok"]


def test_a_hot_board_is_told_so(pi_5: Host) -> None:
    write_files(pi_5.root, {"sys/class/thermal/thermal_zone0/temp": "83100\n"})
    assert check_power(pi_5)[0].problem == "hot"


def test_an_x86_has_what_its_flags_say(tmp_path: Path) -> None:
    check = only(check_processor(x86(tmp_path)))
    assert check.found == "Intel(R) N100, x86_64, AVX2, AVX-VNNI; target x86-vnni"


def test_an_x86_without_avx2_is_warned_of(tmp_path: Path) -> None:
    old = write_files(tmp_path, {"proc/cpuinfo": X86.replace(" avx2 avx_vnni", "")})
    assert only(check_processor(Host(old, "x86_64", 64))).problem == "no-avx2"


@pytest.mark.parametrize(
    ("architecture", "bits", "problem"),
    [
        ("aarch64", 32, "32-bit-userland"),
        ("armv8l", 32, "32-bit-userland"),
        ("x86_64", 32, "32-bit-userland"),
        ("armv7l", 32, "32-bit-system"),
        ("armv6l", 32, "32-bit-system"),
        ("i686", 32, "32-bit-system"),
        ("riscv64", 64, "unknown-architecture"),
    ],
)
def test_a_system_without_a_build_is_told_which_one_to_take(
    pi_4: Host, architecture: str, bits: int, problem: str
) -> None:
    check = only(check_processor(replace(pi_4, architecture=architecture, bits=bits)))
    assert check.problem == problem
    assert check.status == ("warning" if bits == 64 else "failed")


def test_emulation_is_told(tmp_path: Path) -> None:
    write_files(tmp_path, {"proc/cpuinfo": X86, "proc/self/auxv": ""})
    (tmp_path / "proc/self/auxv").write_bytes(auxiliary_vector(1 << 20, 0))
    check = only(check_processor(Host(tmp_path, "aarch64", 64)))
    assert (check.problem, check.found) == ("emulated", "emulated, aarch64, dotprod")


@pytest.mark.parametrize(
    ("governor", "driver", "problem"),
    [
        ("powersave", "cpufreq-dt", "powersave"),
        ("powersave", "intel_pstate", ""),
        ("ondemand", "cpufreq-dt", ""),
        ("performance", "cpufreq-dt", ""),
    ],
)
def test_a_governor_that_holds_the_clock_low_is_warned_of(
    tmp_path: Path, governor: str, driver: str, problem: str
) -> None:
    tree = cpus(2, cpufreq__scaling_governor=governor, cpufreq__scaling_driver=driver)
    assert only(check_cores(Host(write_files(tmp_path, tree), "x86_64", 64))).problem == problem


def test_threads_go_to_the_fast_cores(tmp_path: Path) -> None:
    root = write_files(tmp_path, {"proc/cpuinfo": ROCK_5B} | cpus(8))
    for core in range(8):
        write_files(root, {f"sys/devices/system/cpu/cpu{core}/cpu_capacity": "1024" if core > 3 else "414"})
    host = Host(root, "aarch64", 64)
    assert host.cores == Cores(logical=8, physical=8, fast=4)
    assert host.cores.threads == 4
    assert "4 of them fast" in only(check_cores(host)).found


def test_siblings_of_a_core_count_once(tmp_path: Path) -> None:
    root = write_files(tmp_path, cpus(4))
    for core in range(4):
        write_files(
            root,
            {f"sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list": f"{core % 2},{core % 2 + 2}"},
        )
    assert Host(root, "x86_64", 64).cores == Cores(logical=4, physical=2, fast=2)


def test_only_cores_that_this_process_may_use_count(tmp_path: Path) -> None:
    host = Host(write_files(tmp_path, cpus(4)), "x86_64", 64, allowed=frozenset({1, 2}))
    assert host.cores == Cores(logical=2, physical=2, fast=2)


@pytest.mark.parametrize(
    ("limit", "threads"), [("max 100000", 4), ("250000 100000", 2), ("50000 100000", 1), ("nonsense", 4)]
)
def test_threads_stay_within_the_control_groups_time(tmp_path: Path, limit: str, threads: int) -> None:
    groups = {
        "proc/self/cgroup": "0::/system.slice/edgewhisper.service\n",
        "sys/fs/cgroup/system.slice/edgewhisper.service/cpu.max": f"{limit}\n",
        "sys/fs/cgroup/system.slice/cpu.max": "max 100000\n",
    }
    assert Host(write_files(tmp_path, cpus(4) | groups), "x86_64", 64).cores.threads == threads


def test_free_memory_stays_within_the_control_groups(tmp_path: Path) -> None:
    unit = "sys/fs/cgroup/system.slice/edgewhisper.service"
    groups = {
        "proc/self/cgroup": "0::/system.slice/edgewhisper.service\n",
        "proc/meminfo": meminfo(4000, 3000),
        f"{unit}/memory.max": f"{500 * MEGABYTE}\n",
        f"{unit}/memory.current": f"{100 * MEGABYTE}\n",
        "sys/fs/cgroup/system.slice/memory.max": "max\n",
        "sys/fs/cgroup/system.slice/memory.current": "1\n",
    }
    assert available_memory(write_files(tmp_path, groups)) == 400 * MEGABYTE
    assert available_memory(tmp_path / "elsewhere") == 1 << 30


def test_memory_is_compared_with_what_the_artifact_takes(pi_zero_2: Host) -> None:
    free, swap = 260 * MEGABYTE, 100 * MEGABYTE
    assert only(check_memory(pi_zero_2, None)).found == "273 MB of 436 MB free, 105 MB of swap"
    assert only(check_memory(pi_zero_2, Need(free, free))).status == "ok"
    assert only(check_memory(pi_zero_2, Need(free + 1, free))).problem == "low-memory"
    assert only(check_memory(pi_zero_2, Need(free + 2, free + 1))).problem == "would-swap"
    assert only(check_memory(pi_zero_2, Need(free + swap + 1, free + swap))).problem == "would-swap"
    assert (
        only(check_memory(pi_zero_2, Need(free + swap + 2, free + swap + 1))).problem == "too-little-memory"
    )


def test_an_artifact_needs_less_with_low_memory(demo_artifact: Path) -> None:
    need = memory_needed(load_manifest(demo_artifact))
    assert 50e6 < need.least <= need.usual < 200e6


@pytest.mark.parametrize(
    ("free", "problem"), [(500_000, "full-disk"), (150_000_000, "little-disk"), (500_000_000, "")]
)
def test_a_full_disk_is_warned_of(
    tmp_path: Path, free: int, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert only(check_disk(tmp_path / "not" / "there", 80_000_000)).problem == problem


def test_a_state_folder_that_cannot_be_written_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, {"file": ""})
    monkeypatch.setenv("EDGEWHISPER_STATE", str(tmp_path / "file"))
    assert only(check_state()).problem == "state-not-kept"
    monkeypatch.setenv("EDGEWHISPER_STATE", str(tmp_path / "new" / "folder"))
    assert only(check_state()).status == "ok"


def test_a_tree_that_tells_nothing_is_examined_all_the_same(tmp_path: Path) -> None:
    host = Host(tmp_path, "aarch64", 64)
    checks = [*check_processor(host), *check_cores(host), *check_power(host), *check_memory(host, None)]
    assert {check.status for check in checks} == {"ok"}


def test_this_machine_is_examined() -> None:
    host = this_host()
    assert host.cores.threads >= 1
    checks = [*check_processor(host), *check_cores(host), *check_memory(host, None)]
    assert all(check.status != "failed" for check in checks)
