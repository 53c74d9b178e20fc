"""Recording with the package sounddevice: a stand-in takes its place, as it needs a library of the system."""

import logging
import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgewhisper.errors import AudioError, MissingDependencyError
from edgewhisper.runtime.listening import microphone
from edgewhisper.runtime.listening.microphone import list_microphones, open_microphone
from edgewhisper.runtime.listening.sources import Block
from edgewhisper.runtime.protocols import Floats
from tests.sounds import RATE, sine


class PortAudioError(Exception):
    """As sounddevice raises it."""


class Stream:
    """Plays a sound to its callback when it is started, and has then gone."""

    def __init__(self, sound: Floats, size: int, callback: Callable[..., None]) -> None:
        self._sound, self._size, self._callback = sound, size, callback
        self.active = True

    def __enter__(self) -> None:
        for start in range(0, len(self._sound), self._size):
            piece = self._sound[start : start + self._size, None]
            self._callback(piece, len(piece), None, SimpleNamespace(input_overflow=False))
        self.active = False

    def __exit__(self, *_: object) -> None:
        pass


class FakeModule:
    """What is used of sounddevice, with one device that records; each stream gives the next sound, or raises."""

    PortAudioError = PortAudioError

    def __init__(self, rate: int, *sounds: Floats | Exception) -> None:
        self._rate, self._sounds = rate, list(sounds)
        self.opened: list[tuple[object, int]] = []
        self.starts = 0

    def InputStream(
        self,
        *,
        samplerate: int,
        blocksize: int,
        device: object,
        channels: int,
        dtype: str,
        callback: Callable[..., None],
    ) -> Stream:
        sound = self._sounds.pop(0)
        if isinstance(sound, Exception):
            raise sound
        assert (channels, dtype) == (1, "float32")
        self.opened.append((device, samplerate))
        return Stream(sound, blocksize, callback)

    def check_input_settings(self, *, samplerate: int, **_: object) -> None:
        if samplerate != self._rate:
            raise PortAudioError("Invalid sample rate [PaErrorCode -9997]")

    def query_devices(self, device: object = None, kind: str | None = None) -> Any:
        there = {"name": "USB PnP", "max_input_channels": 1, "default_samplerate": float(self._rate)}
        return there if kind else [{"name": "speaker", "max_input_channels": 0}, there]

    def _terminate(self) -> None:
        self.starts -= 1

    def _initialize(self) -> None:
        self.starts += 2  # once more than it was ended


Installed = Callable[..., FakeModule]


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    def install(rate: int, *sounds: Floats | Exception) -> FakeModule:
        module = FakeModule(rate, *sounds)
        monkeypatch.setitem(sys.modules, "sounddevice", module)
        monkeypatch.setattr(microphone, "RETRY", 0.01)
        return module

    return install


def heard(samples: int, device: str | None = None) -> list[Block]:
    stopped, blocks = threading.Event(), []
    for block in open_microphone(device, "sounddevice").blocks(stopped):
        blocks.append(block)
        if sum(len(each.samples) for each in blocks) >= samples:
            stopped.set()
    return blocks


def test_samples_come_as_they_were_recorded(installed: Installed) -> None:
    module = installed(RATE, sine(RATE))
    assert np.array_equal(np.concatenate([block.samples for block in heard(2 * RATE)]), sine(RATE))
    assert module.opened == [(None, RATE)]


def test_a_device_that_has_another_rate_is_resampled(installed: Installed) -> None:
    module = installed(44_100, sine(44_100))
    found = np.concatenate([block.samples for block in heard(30_000, "USB")])
    assert np.allclose(found[1000:28_000], sine(RATE)[1000:28_000], atol=1e-2)
    assert module.opened == [("USB", 44_100)]


def test_a_device_that_is_pulled_out_is_waited_for(
    installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    gone = PortAudioError("Error querying device -1")
    module = installed(RATE, sine(RATE, 0.5), gone, gone, sine(RATE, 0.5))
    with caplog.at_level(logging.WARNING, "edgewhisper"):
        blocks = heard(RATE, "1")
    assert sum(len(block.samples) for block in blocks) == RATE
    assert sum(block.missing > 0 for block in blocks) == 1
    assert module.starts == 3, "PortAudio looks for devices only when it starts"
    assert [record.getMessage().partition(" after")[0] for record in caplog.records] == [
        "microphone 1: gives no sound; waiting until it comes back",
        "microphone 1: is back",
    ]


class Late:
    """Plays fifteen blocks of sound at once, and another one whenever somebody asks whether it is active."""

    def __init__(self, callback: Callable[..., None]) -> None:
        self._callback = callback

    def __enter__(self) -> None:
        for _ in range(15):
            self._play()

    def __exit__(self, *_: object) -> None:
        pass

    @property
    def active(self) -> bool:
        self._play()
        return True

    def _play(self) -> None:
        self._callback(np.zeros((512, 1), np.float32), 512, None, SimpleNamespace(input_overflow=False))


def test_sound_that_found_no_room_is_in_the_times(
    installed: Installed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("edgewhisper.runtime.listening.sound_device._MOST_WAITING", 10)
    monkeypatch.setattr(installed(RATE), "InputStream", lambda *, callback, **_: Late(callback))
    blocks = heard(11 * 512)
    assert [block.missing for block in blocks] == [*[0.0] * 10, 5 * 512 / RATE]
    assert "some sound was lost" in caplog.text


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PortAudioError("Error opening InputStream: Device unavailable [PaErrorCode -9985]"), "is busy"),
        (ValueError("No input device matching 'x'"), "is not there; plug it in"),
        (
            ValueError("Multiple input devices found for 'x':\n[0] x1\n[1] x2"),
            "is the name of several devices",
        ),
        (PortAudioError("Unanticipated host error\nmore of it"), "sounddevice: Unanticipated host error"),
    ],
)
def test_a_device_that_cannot_be_opened_is_one_line(
    error: Exception, message: str, installed: Installed
) -> None:
    installed(RATE, error)
    with pytest.raises(AudioError, match=f"microphone x: .*{message}") as caught:
        heard(1, "x")
    assert "\n" not in str(caught.value)


def test_devices_that_record_are_listed_by_number(installed: Installed) -> None:
    installed(RATE)
    assert list_microphones("sounddevice") == [("1", "USB PnP")]


def test_it_is_taken_where_there_is_no_arecord(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(RATE)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(microphone, "find_spec", lambda name: object())
    assert list_microphones() == [("1", "USB PnP")]


def test_where_it_is_not_installed_it_is_said_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MissingDependencyError, match=r"pip install edgewhisper\[mic\]"):
        open_microphone(program="sounddevice")
