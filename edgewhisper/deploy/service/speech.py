"""What a client says: its audio as it came, until it is complete."""

import io
from typing import Any

from edgewhisper.runtime.pcm import Encoding, RawFormat

from .limits import Refusal

# Width in bytes -> encoding; one byte is unsigned, as in WAV files.
_ENCODINGS: dict[int, Encoding] = {1: "u8", 2: "s16le", 3: "s24le", 4: "s32le"}
_MOST_CHANNELS = 64


def raw_format(data: dict[str, Any]) -> RawFormat:
    """The format that an audio event states.

    Raises:
        Refusal: it states none, or one that is not audio.
    """
    rate, width, channels = (_number(data, name) for name in ("rate", "width", "channels"))
    if width not in _ENCODINGS:
        raise Refusal("malformed", f"audio of {width} bytes a sample; send 1, 2, 3 or 4")
    if rate < 1 or not 1 <= channels <= _MOST_CHANNELS:
        raise Refusal("malformed", f"audio of {rate} Hz and {channels} channels; neither can be so")
    return RawFormat(rate, channels, _ENCODINGS[width])


def _number(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > 2**31:
        raise Refusal("malformed", f"audio whose '{name}' is not a number")
    return value


class Speech:
    """Audio of one request: interleaved samples of one format, in the order of arrival.

    Attributes:
        raw: the format.
        n_bytes: how much of it is here.
    """

    def __init__(self, raw: RawFormat, most_seconds: float) -> None:
        self.raw = raw
        self.n_bytes = 0
        self._most_seconds = most_seconds
        self._samples = io.BytesIO()

    @property
    def is_empty(self) -> bool:
        """Whether there is not one sample."""
        return self.n_bytes < self.raw.frame_bytes

    @property
    def seconds(self) -> float:
        """Length so far."""
        return self.n_bytes / (self.raw.frame_bytes * self.raw.sample_rate)

    def append(self, raw: RawFormat, samples: bytes) -> None:
        """Add a chunk; it may end within a sample.

        Raises:
            Refusal: another format than before, or more audio than the service takes.
        """
        if raw != self.raw:
            raise Refusal("malformed", f"the audio changes from {_described(self.raw)} to {_described(raw)}")
        self.n_bytes += self._samples.write(samples)
        if self.seconds > self._most_seconds:
            raise Refusal(
                "audio-too-long",
                f"more than {self._most_seconds:g} s of audio; send less, or start the service with a larger --max-audio",
            )

    def file(self) -> io.BytesIO:
        """The samples as a file, at its start; nothing is appended any more."""
        self._samples.seek(0)
        return self._samples


def _described(raw: RawFormat) -> str:
    return f"{raw.encoding}:{raw.sample_rate}:{raw.channels}"
