"""A microphone, waited for when it is pulled out."""

import logging
import shutil
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal, Protocol

from edgewhisper.errors import AudioError

from . import alsa, sound_device
from .arecord import Arecord
from .sound_device import SoundDevice
from .sources import Block

Program = Literal["arecord", "sounddevice"]
PROGRAMS: tuple[Program, ...] = ("arecord", "sounddevice")

RETRY = 1.0
"""Seconds until a microphone that has gone is tried again."""

_LOG = logging.getLogger("edgewhisper")


class Recorder(Protocol):
    """Opens a microphone."""

    @property
    def name(self) -> str:
        """How messages call the microphone."""
        ...

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        """Open it; its sound, until soon after `stopped` is set.

        Raises:
            AudioError: it is not there, busy, or has gone.
        """
        ...


class Microphone:
    """A microphone that may go and come back. What nobody hears in time is lost."""

    can_wait = False

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.name = recorder.name

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        """The sound, with a gap wherever the microphone was away.

        Raises:
            AudioError: it is not there at the beginning.
        """
        heard: float | None = None  # when there was sound for the last time
        is_away = False
        while not stopped.is_set():
            try:
                for block in self._recorder.blocks(stopped):
                    now = time.monotonic()
                    missing = now - heard if heard is not None and is_away else 0.0
                    if is_away:
                        _LOG.warning("%s: is back after %.0f s; listening goes on", self.name, missing)
                    heard, is_away = now, False
                    yield Block(block.samples, missing + block.missing)
                reason = f"{self.name}: gives no more sound"
            except AudioError as error:
                reason = str(error)
                if heard is None:
                    raise
            if not is_away and not stopped.is_set():
                is_away = True
                _LOG.warning("%s; waiting until it comes back", reason.partition(";")[0])
            stopped.wait(RETRY)


def open_microphone(device: str | None = None, program: Program | None = None) -> Microphone:
    """A microphone by name, or the default one; recorded by arecord where that is installed, else by sounddevice.

    Args:
        device: an ALSA name such as plughw:CARD=Device,DEV=0, or a part of the microphone's description. With sounddevice, a part of its name or its number.
        program: what records.

    Raises:
        MissingDependencyError: nothing is installed that records.
        AudioError: no microphone has that name, or several have.
    """
    return Microphone(Arecord(device) if _chosen(program) == "arecord" else SoundDevice(device))


def list_microphones(program: Program | None = None) -> list[tuple[str, str]]:
    """Name and description of each microphone that is there; raises as `open_microphone`."""
    return alsa.list_devices() if _chosen(program) == "arecord" else sound_device.list_devices()


def _chosen(program: Program | None) -> Program:
    if program is not None:
        return program
    return "arecord" if shutil.which("arecord") or not find_spec("sounddevice") else "sounddevice"
