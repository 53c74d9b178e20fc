"""Microphones, by arecord's list and by the kernel's, free, busy and denied."""

import os
import sys
from pathlib import Path

import pytest

from edgewhisper.deploy.doctor.host import Host
from edgewhisper.deploy.doctor.microphones import Microphone, check_microphones, find_microphones
from tests.deploy.trees import write_files, write_program

CARDS = """\
 0 [vc4hdmi        ]: vc4-hdmi - vc4-hdmi
                      vc4-hdmi
 1 [Device         ]: USB-Audio - USB PnP Sound Device
                      C-Media Electronics Inc. USB PnP Sound Device at usb-0000:01:00.0-1.3, full speed
"""
PCM = """\
00-00: MAI PCM i2s-hifi-0 : MAI PCM i2s-hifi-0 : playback 1
01-00: USB Audio : USB Audio : playback 1 : capture 1
"""
RUNNING = """\
state: RUNNING
owner_pid   : 4321
trigger_time: 1234.5
"""
LISTED = """\
null
    Discard all samples (playback) or generate zero samples (capture)
hw:CARD=seeed2micvoicec,DEV=0
    seeed-2mic-voicecard, bcm2835-i2s-wm8960-hifi wm8960-hifi-0
    Direct hardware device without any conversions
plughw:CARD=seeed2micvoicec,DEV=0
    seeed-2mic-voicecard, bcm2835-i2s-wm8960-hifi wm8960-hifi-0
    Hardware device with all software conversions
"""
STATUS = "proc/asound/card1/pcm0c/sub0/status"
USB = Microphone("USB PnP Sound Device", "plughw:CARD=Device,DEV=0")


@pytest.fixture(autouse=True)
def no_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Neither arecord nor sounddevice, whatever this machine has; the folder of programs."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    return tmp_path / "bin"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    files = {"proc/asound/cards": CARDS, "proc/asound/pcm": PCM, STATUS: "closed\n"}
    return Host(write_files(tmp_path / "root", files), "aarch64", 64)


def install_arecord(folder: Path, output: str = LISTED) -> None:
    write_program(folder, "arecord", f"test \"$1\" = -L && printf '%s' '{output}'")


def problems(host: Host) -> list[str]:
    return [check.problem for check in check_microphones(host)]


def test_the_kernels_list_is_read(host: Host, no_programs: Path) -> None:
    assert find_microphones(host) == [USB]
    assert problems(host) == ["", "no-arecord"]
    install_arecord(no_programs, "")
    assert find_microphones(host) == [USB], (
        "also where this user may not use it, so that arecord lists nothing"
    )


def test_arecords_list_is_read_where_the_kernel_has_none(tmp_path: Path, no_programs: Path) -> None:
    host = Host(tmp_path, "aarch64", 64)
    install_arecord(no_programs)
    name = "seeed-2mic-voicecard, bcm2835-i2s-wm8960-hifi wm8960-hifi-0"
    assert find_microphones(host) == [Microphone(name, "plughw:CARD=seeed2micvoicec,DEV=0")]
    assert problems(host) == [""]


@pytest.mark.parametrize(
    "program", ["echo 'arecord: no soundcards found' >&2; exit 1", "echo '    what is this'"]
)
def test_a_broken_arecord_lists_nothing(program: str, tmp_path: Path, no_programs: Path) -> None:
    write_program(no_programs, "arecord", program)
    assert find_microphones(Host(tmp_path, "aarch64", 64)) == []


def test_an_arecord_that_cannot_be_run_lists_nothing(tmp_path: Path, no_programs: Path) -> None:
    write_program(no_programs, "arecord", "")
    (no_programs / "arecord").write_bytes(b"\x7fELF of another machine")
    assert find_microphones(Host(tmp_path, "aarch64", 64)) == []


def test_a_microphone_that_another_program_has_is_busy(host: Host) -> None:
    write_files(host.root, {STATUS: RUNNING, "proc/4321/comm": "pulseaudio\n"})
    check = check_microphones(host)[0]
    assert check.problem == "microphone-busy"
    assert check.found.endswith("pulseaudio (process 4321) is recording from it")


def test_a_busy_microphones_program_may_be_unknown(host: Host) -> None:
    write_files(host.root, {STATUS: "state: PREPARED\n"})
    assert find_microphones(host)[0].busy == "another program"


def test_a_microphone_with_a_second_input_that_is_free_is_not_busy(host: Host) -> None:
    write_files(host.root, {STATUS: RUNNING, STATUS.replace("sub0", "sub1"): "closed\n"})
    assert find_microphones(host) == [USB]


def test_a_microphone_that_may_not_be_opened_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(host.root, {"dev/snd/pcmC1D0c": ""})
    assert problems(host)[0] == ""
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may open everything
    assert problems(host)[0] == "microphone-denied"


def test_a_machine_without_a_microphone_is_told(tmp_path: Path) -> None:
    assert problems(Host(tmp_path, "aarch64", 64)) == ["no-microphone"]


def test_what_sounddevice_finds_is_told(
    tmp_path: Path, no_programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def query_devices(): return [dict(name='hdmi', max_input_channels=0), dict(name='USB mic', max_input_channels=2)]"
    write_files(tmp_path / "packages", {"sounddevice.py": code})
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "sounddevice")
    (check,) = check_microphones(Host(tmp_path, "aarch64", 64))
    assert check.found == "sounddevice has USB mic"


def test_a_sounddevice_that_crashes_is_left_aside(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "packages", {"sounddevice.py": "import os; os.abort()"})
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "sounddevice")
    assert problems(host) == ["", "no-arecord"]
