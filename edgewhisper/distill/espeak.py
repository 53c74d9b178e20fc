"""Speech synthesis by espeak-ng, called through its C library to learn when each word is spoken.

The interface is `speak_lib.h` of espeak-ng 1.51.
"""

import ctypes
import ctypes.util
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import soxr

from edgewhisper.errors import EdgeWhisperError

SAMPLE_RATE = 16_000

_AUDIO_OUTPUT_SYNCHRONOUS = 2
_CHARS_UTF8 = 1
_PARAMETER_RATE = 1
_PARAMETER_PITCH = 3
_POSITION_CHARACTER = 1
_EVENT_LIST_END = 0
_EVENT_WORD = 1

_SILENCE = 0.01
"""Samples below this share of the peak count as silence around the utterance."""


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass(frozen=True)
class Voice:
    """How to speak: an espeak-ng voice, its variant, words per minute and pitch (0-99)."""

    accent: str
    variant: str
    speed: int
    pitch: int

    @property
    def name(self) -> str:
        return f"{self.accent}+{self.variant}" if self.variant else self.accent


@dataclass(frozen=True)
class Word:
    text: str
    start: float
    """Seconds from the beginning of the utterance."""

    end: float


@dataclass(frozen=True)
class Utterance:
    """A spoken sentence without silence around it."""

    samples: npt.NDArray[np.float32]
    """16 kHz mono, in -1..1."""

    words: tuple[Word, ...]

    @property
    def duration(self) -> float:
        return len(self.samples) / SAMPLE_RATE


class _Engine:
    """The library, which keeps process-wide state: one engine in a process, used by one thread."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("espeak-ng")
        if name is None:
            raise EdgeWhisperError("espeak-ng is not installed: install the system package espeak-ng")
        try:
            self._library = ctypes.CDLL(name)
        except OSError as error:
            raise EdgeWhisperError(
                f"espeak-ng cannot be loaded ({error}); install the system package espeak-ng"
            ) from None
        self.native_rate: int = self._library.espeak_Initialize(_AUDIO_OUTPUT_SYNCHRONOUS, 0, None, 0)
        if self.native_rate <= 0:
            raise EdgeWhisperError("espeak-ng does not start: its data folder is missing or damaged")
        self._chunks: list[npt.NDArray[np.int16]] = []
        self._word_events: list[tuple[int, int]] = []
        self._callback = _Callback(self._receive)
        self._library.espeak_SetSynthCallback(self._callback)

    def _receive(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, events: object) -> int:
        if count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in _until_end(events):
            if event.type == _EVENT_WORD:
                self._word_events.append((event.text_position - 1, event.sample))
        return 0

    def synthesise(self, text: str, voice: Voice) -> tuple[npt.NDArray[np.int16], list[tuple[int, int]]]:
        """Returns samples at the native rate and (character position, sample) where each word begins."""
        self._chunks, self._word_events = [], []
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise EdgeWhisperError(f"espeak-ng does not know the voice {voice.name!r}")
        self._library.espeak_SetParameter(_PARAMETER_RATE, voice.speed, 0)
        self._library.espeak_SetParameter(_PARAMETER_PITCH, voice.pitch, 0)
        encoded = text.encode() + b"\0"
        status = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, _POSITION_CHARACTER, 0, _CHARS_UTF8, None, None
        )
        if status != 0 or not self._chunks:
            raise EdgeWhisperError(f"espeak-ng made no sound of {text!r} (status {status})")
        return np.concatenate(self._chunks), self._word_events

    def version(self) -> str:
        info = self._library.espeak_Info
        info.restype = ctypes.c_char_p
        return str(info(None).decode())


def _until_end(events: object) -> Iterator[_Event]:
    index = 0
    while (event := events[index]).type != _EVENT_LIST_END:  # type: ignore[index]
        yield event
        index += 1


@cache
def _engine() -> _Engine:
    return _Engine()


def version() -> str:
    """The version of the installed espeak-ng, for instance `1.51`."""
    return _engine().version()


def speak(text: str, voice: Voice) -> Utterance:
    """Synthesises one sentence at 16 kHz and trims silence from both ends.

    Raises:
        EdgeWhisperError: espeak-ng is missing, does not know the voice or makes no sound.
    """
    engine = _engine()
    native, events = engine.synthesise(text, voice)
    samples = soxr.resample(native.astype(np.float32) / 32768, engine.native_rate, SAMPLE_RATE, quality="HQ")
    loud = np.flatnonzero(np.abs(samples) > _SILENCE * np.abs(samples).max())
    first, last = int(loud[0]), int(loud[-1]) + 1
    return Utterance(
        samples[first:last],
        _words(text, events, engine.native_rate, first / SAMPLE_RATE, (last - first) / SAMPLE_RATE),
    )


def _words(
    text: str, events: list[tuple[int, int]], rate: int, trimmed: float, duration: float
) -> tuple[Word, ...]:
    """Assigns a beginning to each blank-separated word; parts of a hyphenated word belong together."""
    starts: dict[int, float] = {}
    for position, sample in events:
        index = text[: position + 1].count(" ")
        starts.setdefault(index, min(max(sample / rate - trimmed, 0.0), duration))
    tokens = text.split(" ")
    begins: list[float] = []
    for index in range(len(tokens)):
        begins.append(starts.get(index, begins[-1] if begins else 0.0))
    ends = [*begins[1:], duration]
    return tuple(Word(token, begin, end) for token, begin, end in zip(tokens, begins, ends, strict=True))
