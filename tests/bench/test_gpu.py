"""What `nvidia-smi` tells of GPUs, played by a script in its place."""

from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from edgewhisper.bench import gpu
from edgewhisper.bench.gpu import GpuMemory, gpu_memory, gpu_name, held_by
from edgewhisper.bench.machine import this_machine

MEBIBYTE = 2**20


class Driver:
    """A folder with a `nvidia-smi` that answers each query with the text of a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.becomes(
            'case "$*" in\n'
            "--query-gpu=name,driver_version*) cat gpus;;\n"
            "--query-gpu=memory.used*) cat used;;\n"
            "--query-compute-apps=pid,used_memory*) cat processes;;\n"
            "*) exit 2;;\n"
            "esac"
        )

    def becomes(self, body: str) -> None:
        """Another program."""
        program = self.folder / "nvidia-smi"
        program.write_text(f"#!/bin/sh\ncd '{self.folder}'\n{body}\n")
        program.chmod(0o755)

    def tells(self, **answers: str) -> None:
        """The lines of gpus, used and processes."""
        for name, lines in answers.items():
            (self.folder / name).write_text(lines)


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """One GPU that nobody uses."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    driver = Driver(tmp_path)
    driver.tells(gpus="NVIDIA H100 80GB HBM3, 580.65.06\n", used="4\n", processes="")
    return driver


def test_a_gpu_is_named_with_its_driver(driver: Driver) -> None:
    assert gpu_name() == "NVIDIA H100 80GB HBM3, driver 580.65.06"
    assert this_machine().gpu == gpu_name()
    driver.tells(gpus="NVIDIA L4, 1.2\nNVIDIA T4, 1.2\nNVIDIA L4, 1.2\n")
    assert gpu_name() == "2 x NVIDIA L4, driver 1.2; NVIDIA T4, driver 1.2"


def test_a_machine_without_the_program_has_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_name() is None
    assert gpu_memory() is None
    assert this_machine().gpu is None


@pytest.mark.parametrize(
    "body", ["echo 'NVIDIA-SMI has failed'; exit 9", "exec sleep 60", "exit 0", "kill -9 $$"]
)
def test_a_program_that_fails_or_hangs_is_no_gpu(
    body: str, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "_PATIENCE", 0.3)
    driver.becomes(body)
    assert gpu_name() is None
    assert gpu_memory() is None


def test_memory_of_a_process_is_what_it_holds_on_all_gpus(driver: Driver) -> None:
    before = gpu_memory()
    assert before == GpuMemory(4 * MEBIBYTE, {})
    driver.tells(used="1000\n500\n", processes="42, 900\n43, 90\n42, 400\n")
    now = gpu_memory()
    assert now == GpuMemory(1500 * MEBIBYTE, {42: 1300 * MEBIBYTE, 43: 90 * MEBIBYTE})
    assert held_by(42, before, now) == 1300 * MEBIBYTE


@pytest.mark.parametrize(
    ("used", "processes", "held"),
    [
        ("810", "7, 800", 800),  # the only one, under another id
        ("910", "9, 100\n7, 800", 800),  # the only one that has come
        ("910", "7, 400\n8, 400", 900),  # which of them, nobody knows
        ("810", "42, [N/A]", 800),
        ("810", "7, [N/A]", 800),
        ("810", "", 800),
        ("810", "[Insufficient Permissions]", 800),
        ("[N/A]", "42, 700", 700),
        ("[N/A]", "42, [N/A]", None),
        ("[N/A]", "", None),
        ("5", "", 0),  # others gave more back than it takes
    ],
)
def test_where_the_driver_does_not_know_the_process(
    used: str, processes: str, held: int | None, driver: Driver
) -> None:
    driver.tells(used="10", processes="9, 100")
    before = gpu_memory()
    driver.tells(used=used, processes=processes)
    assert held_by(42, before, gpu_memory()) == (None if held is None else held * MEBIBYTE)


def test_nobody_tells_where_the_program_came_or_went(driver: Driver) -> None:
    assert held_by(1, None, gpu_memory()) is None
    assert held_by(1, gpu_memory(), None) is None


@hypothesis.given(st.text(max_size=60))
def test_whatever_is_written_is_read_or_left(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        lines = [[field.strip() for field in line.split(",")] for line in text.splitlines() if line.strip()]
        patch.setattr(gpu, "_ask", lambda query: lines)
        found = gpu_memory()
        assert found is None or all(share is None or share >= 0 for share in found.processes.values())
        assert gpu_name() is None or lines
