"""Temperature and throttling, from constructed trees and a stand-in for the firmware's program."""

from pathlib import Path

import pytest

from edgewhisper.runtime.sensors import Throttling, temperature, throttled, throttling
from tests.deploy.trees import write_files, write_program

KERNEL_FILE = "sys/devices/platform/soc/soc:firmware/get_throttled"
CASES = {
    "0": Throttling(),
    "50000": Throttling(before=("under-voltage", "throttled")),
    "50005": Throttling(now=("under-voltage", "throttled"), before=("under-voltage", "throttled")),
    "80008": Throttling(now=("soft temperature limit",), before=("soft temperature limit",)),
    "e0002": Throttling(now=("frequency capped",), before=("frequency capped", "throttled", "soft temperature limit")),
}  # fmt: skip


@pytest.mark.parametrize("word", CASES)
def test_the_firmwares_word_is_read_from_the_kernels_file(tmp_path: Path, word: str) -> None:
    assert throttling(write_files(tmp_path, {KERNEL_FILE: f"{word}\n"})) == CASES[word]


@pytest.mark.parametrize("word", CASES)
def test_else_it_is_asked_of_vcgencmd(tmp_path: Path, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(tmp_path / "bin", "vcgencmd", f'test "$1" = get_throttled && echo throttled=0x{word}')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert throttling(tmp_path) == CASES[word]
    assert throttled() is bool(CASES[word].now)


@pytest.mark.parametrize("script", ["exit 255", "echo VCHI initialization failed", None])
def test_a_firmware_that_may_not_be_asked_tells_nothing(
    tmp_path: Path, script: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if script:
        write_program(tmp_path / "bin", "vcgencmd", script)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert throttling(tmp_path) is None
    assert throttled() is None


def test_the_hottest_zone_counts(tmp_path: Path) -> None:
    zones = {
        f"sys/class/thermal/thermal_zone{i}/temp": text for i, text in enumerate(["41000", "82500", "broken"])
    }
    assert temperature(write_files(tmp_path, zones)) == 82.5
    assert temperature(tmp_path / "elsewhere") is None
