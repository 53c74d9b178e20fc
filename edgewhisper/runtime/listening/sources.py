"""Where sound comes from that is listened to: a pipe, or a recording that is played like a microphone."""

import math
import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np

from edgewhisper.errors import AudioError, UsageError

from ..audio import SAMPLE_RATE, check_rate, check_samples, open_audio, resampler
from ..pcm import RawFormat, decode_pcm
from ..protocols import Floats

LOOK_UP = 0.1
"""Seconds after which what waits for sound looks whether it should stop."""

SILENT = 5.0
"""Seconds without a single sample after which a microphone counts as gone: some drivers say nothing."""

_READ_BYTES = 1 << 14  # at once from a pipe: half a second of 16-bit samples at most, what is there at least
_PLAYED = 512  # samples at a time, as a microphone gives them


@dataclass(frozen=True)
class Block:
    """Samples [n] at 16 kHz, and for how many seconds before them there was no sound to be had."""

    samples: Floats
    missing: float = 0.0


class Source(Protocol):
    """Sound that comes as time passes."""

    @property
    def name(self) -> str:
        """How messages call it."""
        ...

    @property
    def can_wait(self) -> bool:
        """Whether nothing is lost when nobody reads for a while."""
        ...

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        """The sound, until its end or soon after `stopped` is set.

        Raises:
            AudioError: there is none, or it is damaged.
        """
        ...


class RawPipe:
    """Samples without a header from a pipe or file. The writer waits while nobody reads."""

    can_wait = True

    def __init__(self, file: IO[bytes], raw: RawFormat, name: str) -> None:
        """Read from a file that has a descriptor.

        Raises:
            AudioError: it has none, or a rate that no recording has.
        """
        check_rate(raw.sample_rate, name)
        try:
            self._descriptor = file.fileno()
        except (OSError, ValueError):  # io.UnsupportedOperation is both
            raise AudioError(f"{name}: is no file or pipe that can be listened to") from None
        self._raw = raw
        self.name = name

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        """As they come; half a sample at the end is dropped."""
        raw, resample = self._raw, resampler(self._raw.sample_rate, SAMPLE_RATE)
        pending, n_read = b"", 0
        while not stopped.is_set():
            if not select.select([self._descriptor], [], [], LOOK_UP)[0]:
                continue
            try:
                data = os.read(self._descriptor, _READ_BYTES)
            except OSError as error:
                raise AudioError(f"{self.name}: cannot be read ({error.strerror or error})") from None
            if n_read == 0 and len(pending) < 4 and (pending + data).startswith(b"RIFF"):
                raise AudioError(
                    f"{self.name}: is WAV, and samples without a header are listened to; pipe those, as arecord -t raw does"
                )
            if not data:
                break
            pending += data
            whole = len(pending) - len(pending) % raw.frame_bytes
            samples = decode_pcm(pending[:whole], raw.encoding).reshape(-1, raw.channels)
            pending = pending[whole:]
            check_samples(samples, self.name, n_read, raw.sample_rate)
            n_read += len(samples)
            yield Block(resample(samples.mean(axis=1), False))
        yield Block(resample(np.empty(0, np.float32), True))


class Recorded:
    """A recording that is played as if it came from a microphone: what nobody hears in time is lost."""

    def __init__(self, path: str | os.PathLike[str], speed: float = 1.0) -> None:
        """Play a file, `speed` times as fast as it was recorded; at infinite speed it waits until it is heard.

        Raises:
            UsageError: a speed of 0 or less.
        """
        if not speed > 0:
            raise UsageError(f"speed {speed!r}: must be more than 0")
        self._path, self._speed = path, speed
        self.name = os.fsdecode(path)
        self.can_wait = math.isinf(speed)

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        """Each when its last sample has been played."""
        started, played = time.monotonic(), 0
        with open_audio(self._path, target_rate=SAMPLE_RATE) as stream:
            for samples in stream:
                for piece in np.split(samples, range(_PLAYED, len(samples), _PLAYED)):
                    played += len(piece)
                    due = started + played / SAMPLE_RATE / self._speed
                    if stopped.wait(max(0.0, due - time.monotonic())):
                        return
                    yield Block(piece)
