"""The unit of the service, judged by systemd itself."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgewhisper

UNITS = Path(edgewhisper.__file__).parent / "deploy" / "systemd"
UNIT = UNITS / "edgewhisper.service"
MOST_EXPOSED = 2.5
LAUNCHER = "/usr/bin/edgewhisper"

with_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@with_systemd
@pytest.mark.parametrize("drop_ins", [[], ["zeroconf.conf"]])
def test_systemd_has_nothing_to_say_against_the_unit(tmp_path: Path, drop_ins: list[str]) -> None:
    """The launcher comes with the bundle; a copy of the unit names a program that is here."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace(LAUNCHER, sys.executable))
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    for name in drop_ins:
        shutil.copy(UNITS / name, folder)
    verified = analyze("verify", "--man=no", copy)
    assert (verified.returncode, verified.stdout, verified.stderr) == (0, "", "")


@with_systemd
@pytest.mark.parametrize("drop_ins", [[], ["zeroconf.conf"]])
def test_the_unit_exposes_little(tmp_path: Path, drop_ins: list[str]) -> None:
    copy = shutil.copy(UNIT, tmp_path)
    folder = tmp_path / f"{UNIT.name}.d"
    folder.mkdir()
    for name in drop_ins:
        shutil.copy(UNITS / name, folder)
    judged = analyze("security", "--offline=true", copy)
    level = re.search(r"exposure level for edgewhisper\.service: ([0-9.]+)", judged.stdout)
    assert level, judged
    assert float(level[1]) < MOST_EXPOSED


@with_systemd
def test_threads_may_be_bound_to_cores() -> None:
    """ONNX Runtime binds them where it is not told how many to take; the call is denied with others and then allowed."""
    filters = re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE)
    denied = next(index for index, names in enumerate(filters) if names[0] == "~" and "@resources" in names)
    assert "sched_setaffinity" in analyze("syscall-filter", "@resources").stdout.split()
    assert "sched_setaffinity" in filters[denied + 1 :]


def test_the_settings_file_names_what_the_unit_reads() -> None:
    settings = dict(
        line.split("=", 1)
        for line in (UNITS / "edgewhisper.default").read_text().splitlines()
        if re.match(r"[A-Z]", line)
    )
    assert set(settings) == {"EDGEWHISPER_ARTIFACT", "EDGEWHISPER_WYOMING", "EDGEWHISPER_OPTIONS"}
    unit = UNIT.read_text()
    port = settings["EDGEWHISPER_WYOMING"].rpartition(":")[2]
    assert f"SocketBindAllow=tcp:{port}\n" in unit
    assert f"Environment=EDGEWHISPER_WYOMING={settings['EDGEWHISPER_WYOMING']}\n" in unit
    assert f"ExecStart={LAUNCHER} serve --wyoming ${{EDGEWHISPER_WYOMING}} $EDGEWHISPER_OPTIONS\n" in unit
