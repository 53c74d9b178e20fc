"""Recording with the program arecord, of the package alsa-utils."""

import logging
import os
import re
import select
import subprocess
import threading
import time
from collections.abc import Iterator

from edgewhisper.errors import AudioError

from ..audio import SAMPLE_RATE, resampler
from ..pcm import decode_pcm
from .alsa import SHOW, find_device, program
from .sources import LOOK_UP, SILENT, Block

_PERIOD, _BUFFER = (
    32_000,
    1_000_000,
)  # µs: sound comes every 32 ms, and a second of it is kept while this process does not run
_READ_BYTES = 1 << 15
_LOG = logging.getLogger("edgewhisper")
# What the program says -> what is wrong, and what to do.
_CAUSES = (
    ("Device or resource busy", "is busy; end the program that records from it"),
    ("Permission denied", "may not be used; add the user to the group audio"),
    ("Channels count non available", "does not record mono; give its plughw: name, which converts"),
    ("Sample format non available", "has no 16-bit samples; give its plughw: name, which converts"),
    ("No such device", f"is not there; plug it in, or name another ({SHOW})"),
    ("No such file or directory", f"is not there; plug one in, or name another ({SHOW})"),
    ("Unknown PCM", f"is not there; plug it in, or name another ({SHOW})"),
)
_OTHER_RATE = re.compile(r"rate is not accurate \(requested = \d+Hz, got = (\d+)Hz\)")
_OVERRUN = re.compile(r"overrun!!! \(at least (\d+(?:\.\d+)?) ms long\)")


class Arecord:
    """Records mono 16-bit samples at 16 kHz, or at the rate that the device has instead, which are then resampled.

    Raises:
        MissingDependencyError: arecord is not installed.
        AudioError: no microphone has that name, or several have.
    """

    def __init__(self, device: str | None = None) -> None:
        self._program = program()
        self._device = None if device is None else find_device(device)
        self.name = f"microphone {device or 'default'}"

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        """As `Recorder.blocks`."""
        command = [self._program, "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(SAMPLE_RATE)]
        command += ["-F", str(_PERIOD), "-B", str(_BUFFER)]
        command += [] if self._device is None else ["-D", self._device]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C"},  # its messages are understood
                start_new_session=True,  # an interrupt on the terminal is for this process to deal with
            )
        except OSError as error:
            raise AudioError(
                f"{self.name}: {self._program} cannot be run ({error.strerror or error})"
            ) from None
        with process:
            try:
                yield from self._recorded(process, stopped)
            finally:
                process.kill()

    def _recorded(self, process: subprocess.Popen[bytes], stopped: threading.Event) -> Iterator[Block]:
        assert process.stdout is not None
        assert process.stderr is not None
        out, err = process.stdout.fileno(), process.stderr.fileno()
        messages, open_files = "", [out, err]
        resample = resampler(SAMPLE_RATE, SAMPLE_RATE)
        pending, heard, missing = b"", time.monotonic(), 0.0
        while not stopped.is_set():
            ready = select.select(open_files, [], [], LOOK_UP)[0]
            if err in ready:  # before the samples: what is said of them comes first
                text = os.read(err, _READ_BYTES).decode(errors="replace")
                if not text:
                    open_files.remove(err)
                messages = (messages + text)[-_READ_BYTES:]
                if found := _OTHER_RATE.search(messages):
                    resample = resampler(int(found[1]), SAMPLE_RATE)
                    messages = messages[found.end() :]
                while found := _OVERRUN.search(messages):
                    _LOG.warning(
                        "%s: %s ms of sound were lost; this machine is too busy", self.name, found[1]
                    )
                    missing += float(found[1]) / 1000
                    messages = messages[found.end() :]
            elif out in ready:
                data = os.read(out, _READ_BYTES)
                if not data:
                    break
                heard = time.monotonic()
                pending += data
                whole = len(pending) - len(pending) % 2
                yield Block(resample(decode_pcm(pending[:whole], "s16le"), False), missing)
                pending, missing = pending[whole:], 0.0
            elif time.monotonic() - heard > SILENT:
                raise AudioError(f"{self.name}: gives no sound; plug it in again, or name another ({SHOW})")
        if stopped.is_set():
            return
        process.wait()
        messages += process.stderr.read().decode(errors="replace") if err in open_files else ""
        raise AudioError(f"{self.name}: {_cause(messages)}")


def _cause(messages: str) -> str:
    """What the program's messages mean."""
    for said, meaning in _CAUSES:
        if said in messages:
            return meaning
    lines = [line for line in messages.splitlines() if not line.startswith(("Recording RAW", "ALSA lib"))]
    last = lines[-1].strip() if lines else "no message"
    return f"cannot be recorded from (arecord: {last}); {SHOW}"
