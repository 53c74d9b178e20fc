"""Recording with the package sounddevice, which needs the library PortAudio."""

import logging
import queue
import threading
from collections.abc import Iterator
from typing import Any

from edgewhisper.errors import AudioError, MissingDependencyError

from ..audio import SAMPLE_RATE, resampler
from ..protocols import Floats
from .sources import LOOK_UP, SILENT, Block

_BLOCK = 0.032  # seconds of sound at a time
_MOST_WAITING = 1000  # blocks: half a minute
_LOG = logging.getLogger("edgewhisper")
_SHOW = "'edgewhisper listen --list-devices' shows those that are there"


class SoundDevice:
    """Records mono samples at 16 kHz, or at the rate that the device has instead, which are then resampled.

    Raises:
        MissingDependencyError: sounddevice or PortAudio is not installed.
    """

    def __init__(self, device: str | None = None) -> None:
        """Name a device by a part of its name or by its number; None is the default one."""
        self._module = _sounddevice()
        self._device: str | int | None = int(device) if device is not None and device.isdecimal() else device
        self.name = f"microphone {device or 'default'}"
        self._was_opened = False

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        """As `Recorder.blocks`."""
        module = self._module
        if self._was_opened:  # PortAudio finds devices when it starts, and only then
            module._terminate()
            module._initialize()
        self._was_opened = True
        heard: queue.Queue[tuple[Floats, int]] = queue.Queue(_MOST_WAITING)
        lost = 0  # samples before the next ones

        def hear(samples: Any, count: int, times: object, status: Any) -> None:
            nonlocal lost
            if status.input_overflow or heard.full():
                _LOG.warning("%s: some sound was lost; this machine is too busy", self.name)
            if heard.full():
                lost += count
            else:
                heard.put((samples[:, 0].copy(), lost))
                lost = 0

        try:
            rate = self._rate()
            stream = module.InputStream(
                samplerate=rate,
                blocksize=round(_BLOCK * rate),
                device=self._device,
                channels=1,
                dtype="float32",
                callback=hear,
            )
            resample = resampler(rate, SAMPLE_RATE)
            with stream:
                for samples, missing in self._recorded(stream, heard, stopped):
                    yield Block(resample(samples, False), missing / rate)
        except (module.PortAudioError, ValueError) as error:  # ValueError: no device of that name, or several
            raise AudioError(f"{self.name}: {_cause(str(error))}") from None

    def _recorded(
        self, stream: Any, heard: "queue.Queue[tuple[Floats, int]]", stopped: threading.Event
    ) -> Iterator[tuple[Floats, int]]:
        silent = 0.0
        while not stopped.is_set():
            try:
                item = heard.get(timeout=LOOK_UP)
            except queue.Empty:
                silent += LOOK_UP
                if silent > SILENT or not stream.active:
                    raise AudioError(
                        f"{self.name}: gives no sound; plug it in again, or name another ({_SHOW})"
                    ) from None
                continue
            silent = 0.0
            yield item

    def _rate(self) -> int:
        """The rate that is wanted, or, of a device that does not have it, the device's own."""
        try:
            self._module.check_input_settings(
                device=self._device, channels=1, dtype="float32", samplerate=SAMPLE_RATE
            )
        except self._module.PortAudioError as error:
            if "sample rate" not in str(error).lower():
                raise
            return round(float(self._module.query_devices(self._device, "input")["default_samplerate"]))
        return SAMPLE_RATE


def list_devices() -> list[tuple[str, str]]:
    """Number and name of each device that records.

    Raises:
        MissingDependencyError: sounddevice or PortAudio is not installed.
    """
    devices = _sounddevice().query_devices()
    return [
        (str(number), device["name"])
        for number, device in enumerate(devices)
        if device["max_input_channels"] > 0
    ]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise MissingDependencyError(
            "the recorder sounddevice is not installed; run 'pip install edgewhisper[mic]', or take arecord"
        ) from None
    except OSError:
        raise MissingDependencyError(
            "sounddevice does not find PortAudio; run 'apt install libportaudio2', or take the recorder arecord"
        ) from None
    return sounddevice


def _cause(message: str) -> str:
    """What PortAudio's or sounddevice's message means."""
    line = message.splitlines()[0] if message else "no message"
    if "Device unavailable" in message:
        return "is busy; end the program that records from it"
    if "Multiple input devices" in message:
        return f"is the name of several devices; give more of it, or a number ({_SHOW})"
    if "No input device" in message or "Error querying device" in message:
        return f"is not there; plug it in, or name another ({_SHOW})"
    return f"cannot be recorded from (sounddevice: {line}); {_SHOW}"
