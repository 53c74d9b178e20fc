"""Recording with arecord: what it says is understood, and a microphone that goes is waited for."""

import logging
import threading
import time

import numpy as np
import pytest

from edgewhisper.errors import AudioError, MissingDependencyError
from edgewhisper.runtime.listening import microphone
from edgewhisper.runtime.listening.microphone import list_microphones, open_microphone
from edgewhisper.runtime.listening.sources import Block
from edgewhisper.runtime.protocols import Floats
from tests.fake_arecord import FakeArecord
from tests.sounds import RATE, sine

DEVICES = """null
    Discard all samples (playback) or generate zero samples (capture)
default
    Default Audio Device
hw:CARD=Device,DEV=0
    USB PnP Sound Device, USB Audio
    Direct hardware device without any conversions
plughw:CARD=Device,DEV=0
    USB PnP Sound Device, USB Audio
    Hardware device with all software conversions
hw:CARD=S3,DEV=0
    Anker PowerConf S3, USB Audio
    Direct hardware device without any conversions
plughw:CARD=S3,DEV=0
    Anker PowerConf S3, USB Audio
    Hardware device with all software conversions
"""


def heard(samples: int, device: str | None = None) -> list[Block]:
    """Blocks from a microphone until there were so many samples."""
    stopped, blocks = threading.Event(), []
    for block in open_microphone(device).blocks(stopped):
        blocks.append(block)
        if sum(len(each.samples) for each in blocks) >= samples:
            stopped.set()
    return blocks


def samples_of(blocks: list[Block]) -> Floats:
    return np.concatenate([block.samples for block in blocks])


def test_samples_come_as_they_were_recorded(arecord: FakeArecord) -> None:
    arecord.run(sine(RATE), stays=True)
    assert np.allclose(samples_of(heard(2 * RATE)), sine(RATE), atol=1e-4)
    assert arecord.arguments().startswith("C -t raw -f S16_LE -c 1 -r 16000 "), (
        "in a language that is understood"
    )
    assert "-D" not in arecord.arguments()


def test_a_device_that_has_another_rate_is_resampled(arecord: FakeArecord) -> None:
    arecord.run(
        sine(48_000),
        says="Recording RAW DATA 'stdin' : Signed 16 bit Little Endian, Rate 16000 Hz, Mono\n"
        "Warning: rate is not accurate (requested = 16000Hz, got = 48000Hz)\n"
        "         please, try the plug plugin (-Dplug:hw:1,0)\n",
        stays=True,
    )
    found = samples_of(heard(30_000, "hw:1,0"))
    assert np.allclose(found[1000:28_000], sine(RATE)[1000:28_000], atol=1e-2)
    assert arecord.arguments().endswith("-D hw:1,0")


@pytest.mark.parametrize(
    ("says", "message"),
    [
        (
            "arecord: main:852: audio open error: Device or resource busy\n",
            "is busy; end the program that records from it",
        ),
        (
            "ALSA lib confmisc.c:855:(parse_card) cannot find card '0'\n"
            "arecord: main:852: audio open error: No such file or directory\n",
            "is not there; plug one in, or name another",
        ),
        ("arecord: main:852: audio open error: Permission denied\n", "add the user to the group audio"),
        (
            "Recording RAW DATA 'stdin' : Signed 16 bit Little Endian, Rate 16000 Hz, Mono\n"
            "arecord: set_params:1387: Channels count non available\n",
            "does not record mono; give its plughw: name",
        ),
        (
            "arecord: set_params:1374: Sample format non available\nAvailable formats:\n- S32_LE\n",
            "has no 16-bit samples; give its plughw: name",
        ),
        ("something new\n", r"cannot be recorded from \(arecord: something new\)"),
        ("", r"cannot be recorded from \(arecord: no message\)"),
    ],
)
def test_a_microphone_that_cannot_be_opened_is_one_line(
    says: str, message: str, arecord: FakeArecord
) -> None:
    arecord.run(says=says)
    with pytest.raises(AudioError, match=rf"microphone default: .*{message}") as caught:
        heard(1)
    assert "\n" not in str(caught.value)
    assert arecord.count == 1


def test_a_microphone_that_is_pulled_out_is_waited_for(
    arecord: FakeArecord, caplog: pytest.LogCaptureFixture
) -> None:
    arecord.run(sine(RATE, 0.5), says="arecord: pcm_read:2221: read error: No such device\n")
    for _ in range(3):
        arecord.run(says="arecord: main:852: audio open error: No such file or directory\n")
    arecord.run(sine(RATE, 0.25), stays=True)
    with caplog.at_level(logging.WARNING, "edgewhisper"):
        started = time.monotonic()
        blocks = heard(12_000, "plughw:CARD=Device,DEV=0")
        passed = time.monotonic() - started
    assert arecord.count == 5
    assert sum(len(block.samples) for block in blocks) == 12_000
    (gap,) = (block.missing for block in blocks if block.missing)
    assert 4 * 0.05 <= gap <= passed
    gone, back = (record.getMessage() for record in caplog.records)
    assert gone == "microphone plughw:CARD=Device,DEV=0: is not there; waiting until it comes back"
    assert back.startswith("microphone plughw:CARD=Device,DEV=0: is back after")


def test_a_microphone_that_falls_silent_has_gone(
    arecord: FakeArecord, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edgewhisper.runtime.listening.arecord.SILENT", 0.2)
    arecord.run(sine(RATE, 0.5), stays=True)
    arecord.run(sine(RATE, 0.5), stays=True)
    with caplog.at_level(logging.WARNING, "edgewhisper"):
        assert len(samples_of(heard(RATE))) == RATE
    assert "gives no sound; waiting" in caplog.records[0].getMessage()


def test_one_that_never_gives_a_sound_is_an_error(
    arecord: FakeArecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgewhisper.runtime.listening.arecord.SILENT", 0.2)
    arecord.run(stays=True)
    with pytest.raises(AudioError, match="microphone default: gives no sound"):
        heard(1)


def test_lost_sound_is_told_and_is_in_the_times(
    arecord: FakeArecord, caplog: pytest.LogCaptureFixture
) -> None:
    arecord.run(sine(RATE, 0.5), says="overrun!!! (at least 118.214 ms long)\n", stays=True)
    with caplog.at_level(logging.WARNING, "edgewhisper"):
        blocks = heard(8_000)
    assert sum(block.missing for block in blocks) == pytest.approx(0.118214)
    (record,) = caplog.records
    assert (
        record.getMessage() == "microphone default: 118.214 ms of sound were lost; this machine is too busy"
    )


def test_waiting_for_a_microphone_can_be_stopped(arecord: FakeArecord) -> None:
    arecord.run(sine(RATE, 0.1))
    stopped = threading.Event()
    thread = threading.Thread(target=lambda: list(open_microphone().blocks(stopped)))
    thread.start()
    while arecord.count < 3:
        time.sleep(0.01)
    stopped.set()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("anker", "plughw:CARD=S3,DEV=0"),
        ("USB PnP", "plughw:CARD=Device,DEV=0"),
        ("hw:1,0", "hw:1,0"),
        ("pulse", "pulse"),
    ],
)
def test_a_microphone_has_a_name(given: str, opened: str, arecord: FakeArecord) -> None:
    arecord.devices(DEVICES)
    arecord.run(sine(RATE, 0.1), stays=True)
    heard(1, given)
    assert arecord.arguments().endswith(f"-D {opened}")


def test_a_name_of_several_is_refused(arecord: FakeArecord) -> None:
    arecord.devices(DEVICES)
    with pytest.raises(AudioError, match=r"may be plughw:CARD=Device,DEV=0 or plughw:CARD=S3,DEV=0"):
        open_microphone("usb audio")
    with pytest.raises(AudioError, match="the name is empty"):
        open_microphone(" ")


def test_microphones_are_listed(arecord: FakeArecord) -> None:
    arecord.devices(DEVICES)
    assert list_microphones() == [
        ("plughw:CARD=Device,DEV=0", "USB PnP Sound Device, USB Audio"),
        ("plughw:CARD=S3,DEV=0", "Anker PowerConf S3, USB Audio"),
    ]
    arecord.devices("")
    assert list_microphones() == []


def test_without_a_program_that_records_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(microphone, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="apt install alsa-utils"):
        open_microphone()
