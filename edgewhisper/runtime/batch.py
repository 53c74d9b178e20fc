"""Transcription of several recordings together: windows of all of them are decoded in the slots of one decoder."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial

from edgewhisper.artifact import Manifest
from edgewhisper.errors import AudioError

from .audio import AudioStream
from .batch_loop import BatchLoop, Job
from .decoder import Decoder
from .decoding import Decoded
from .memory import available_memory
from .memory_budget import transcription_memory
from .options import DecodingOptions, Segment, TranscriptionInfo
from .rules import rules_for
from .slots import Slots, slot_bytes
from .transcription import Model, Transcription, Window

MOST = 16
"""Windows decoded at once at most: more gain nothing on the processors that were measured."""

_LOG = logging.getLogger("edgewhisper")


@dataclass(frozen=True)
class Transcript:
    """One recording of several.

    Attributes:
        segments: those that hold text.
        info: what is known of the recording; None where it could not be opened.
        error: why the recording could not be read to its end; None where it could.
        index: its place among the recordings, from 0.
    """

    segments: tuple[Segment, ...]
    info: TranscriptionInfo | None
    error: AudioError | None = None
    index: int = 0


@dataclass(eq=False)
class _Recording:
    """A recording that is being transcribed."""

    index: int
    stream: AudioStream | None = None
    transcription: Transcription | None = None
    # Windows that were begun and not taken, in their order.
    places: "deque[_Place]" = field(default_factory=deque)
    segments: list[Segment] = field(default_factory=list)
    error: AudioError | None = None
    is_read: bool = False  # there are no more windows

    @property
    def is_done(self) -> bool:
        return self.is_read and not self.places

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()

    def transcript(self) -> Transcript:
        info = None if self.transcription is None else self.transcription.info
        return Transcript(tuple(self.segments), info, self.error, self.index)


@dataclass(eq=False)
class _Place:
    """A window of a recording, and its text once it is decoded."""

    recording: _Recording
    transcription: Transcription
    window: Window
    decoded: Decoded | None = None


Opener = Callable[[], tuple[AudioStream, Transcription]]


class Batch:
    """Transcribes recordings, several windows at once."""

    def __init__(
        self, model: Model, manifest: Manifest, decoder: Decoder, options: DecodingOptions, count: int
    ) -> None:
        """Take a loaded model and the number of slots; fewer are used where memory does not suffice."""
        self._model, self._manifest, self._decoder, self._options = model, manifest, decoder, options
        self._rules = rules_for(options, model.tokens, model.audio)
        self._active: list[_Recording] = []
        self._waiting: deque[_Place] = deque()  # windows without a slot
        self._count = count
        self._loop: BatchLoop | None = None  # made by the first window
        self._opening: tuple[int, Opener] | None = None  # a recording for which memory did not suffice

    def run(self, openers: Iterable[Opener], ordered: bool = True) -> Iterator[Transcript]:
        """Transcribe recordings.

        Args:
            openers: open one recording each, when its turn comes.
            ordered: whether a transcript waits for those of the recordings before it.
        """
        coming = enumerate(openers)
        complete: dict[int, Transcript] = {}
        following = 0
        try:
            while True:
                going = self._advance(coming)
                for recording in [recording for recording in self._active if recording.is_done]:
                    self._active.remove(recording)
                    recording.close()
                    complete[recording.index] = recording.transcript()
                while complete if not ordered else following in complete:
                    index = following if ordered else next(iter(complete))
                    yield complete.pop(index)
                    following += 1
                if not going and not self._active:
                    return
        finally:  # also where nobody wants more
            for recording in self._active:
                recording.close()

    def _advance(self, coming: Iterator[tuple[int, Opener]]) -> bool:
        """Fill free slots and take a step; False where there was nothing to do. With less memory, again with fewer slots."""
        try:
            for recording in self._active:  # what memory did not suffice for last time
                self._take(recording)
            loop = self._loop = self._loop or self._make_loop()
            while loop.has_room and (place := self._next_place(coming)):
                self._begin(loop, place)
            if not loop.jobs:
                return False
            with self._model.lock:
                ended = loop.step()
            for job, decoded in ended:
                job.owner.decoded = decoded
            for recording in self._active:
                self._take(recording)
        except Exception as error:
            if self._count == 1 or not is_allocation_failure(error):
                raise
            self._shrink()
        return True

    def _begin(self, loop: BatchLoop, place: _Place) -> None:
        """Put a window into a free slot; where that fails, it waits for another."""
        transcription, prompt = place.transcription, place.window.prompt
        limit = self._decoder.max_length - len(prompt)
        if self._options.max_tokens is not None:
            limit = min(limit, self._options.max_tokens)
        statistics = transcription.info.statistics
        self._waiting.appendleft(place)
        loop.begin(
            Job(prompt, self._rules, limit, statistics, transcription.started, place),
            transcription.encode(place.window),
        )
        self._waiting.popleft()

    def _next_place(self, coming: Iterator[tuple[int, Opener]]) -> _Place | None:
        if self._waiting:
            return self._waiting.popleft()
        for recording in self._active:
            if place := self._window_of(recording):
                return place
        while (opening := self._opening or next(coming, None)) is not None:
            self._opening = opening
            recording = _opened(*opening)
            self._opening = None
            self._active.append(recording)
            if place := self._window_of(recording):
                return place
        return None

    def _window_of(self, recording: _Recording) -> _Place | None:
        transcription = recording.transcription
        if recording.is_read or transcription is None:
            return None
        # A window whose text is known waits for those before it, but not any number of windows.
        if len(recording.places) >= (1 if transcription.is_sequential else 2 * self._count):
            return None
        try:
            windows = transcription.next_windows(1)
        except AudioError as error:
            recording.error, windows = error, []
        if not windows:
            recording.is_read = True
            return None
        place = _Place(recording, transcription, windows[0])
        recording.places.append(place)
        return place

    def _take(self, recording: _Recording) -> None:
        """Take the windows whose text is known, in their order."""
        while recording.places and (decoded := recording.places[0].decoded) is not None:
            place = recording.places[0]
            transcription = place.transcription
            unsure = transcription.is_unsure(decoded)  # to be decoded once more, at higher temperatures
            cross = transcription.encode(place.window) if unsure else None
            decide = partial(transcription.decide, first=decoded, cross=cross)
            recording.segments += transcription.take(place.window, decide)
            recording.places.popleft()

    def _shrink(self) -> None:
        """Go on with half as many slots; what was being decoded begins anew."""
        if self._loop is not None:
            self._waiting.extend(job.owner for job in self._loop.jobs if job.owner.decoded is None)
            self._loop = None  # its memory is free before the next one's is taken
        self._count //= 2
        _LOG.warning("memory does not suffice for so many windows at once; going on with %d", self._count)

    def _make_loop(self) -> BatchLoop:
        slots = Slots(self._decoder, self._count, self._manifest.dimensions.max_source_positions)
        return BatchLoop(slots, self._model.tokens, self._decoder.head_size)


def _opened(index: int, opener: Opener) -> _Recording:
    try:
        stream, transcription = opener()
    except AudioError as error:
        return _Recording(index, error=error, is_read=True)
    return _Recording(index, stream, transcription)


def is_allocation_failure(error: Exception) -> bool:
    """Whether memory did not suffice; ONNX Runtime says so in words."""
    words = str(error).lower()
    if isinstance(error, ValueError) and "array is too big" in words:
        return True
    return isinstance(error, MemoryError) or any(
        x in words for x in ("bad_alloc", "bad allocation", "allocate memory")
    )


def one_by_one(openers: Iterable[Opener]) -> Iterator[Transcript]:
    """Transcripts of recordings that are not decoded together."""
    for index, opener in enumerate(openers):
        recording = _opened(index, opener)
        try:
            if recording.transcription is not None:
                for segment in recording.transcription.segments():
                    recording.segments.append(segment)
        except AudioError as error:
            recording.error = error
        finally:
            recording.close()
        yield recording.transcript()


def batch_size(manifest: Manifest, max_ram: int | None) -> int:
    """How many windows to decode at once: what fits the memory that is left.

    Args:
        manifest: of the artifact.
        max_ram: bytes that the process may take; None: half of what is free now.
    """
    encoder, decoder = manifest.graph("encoder"), manifest.graph("decoder")
    if max_ram is None:
        room: int = available_memory() // 2
    else:
        room = max_ram - transcription_memory(
            manifest.dimensions, encoder.precision, decoder.precision, low_memory=False
        )
    return max(1, min(MOST, room // slot_bytes(decoder, manifest.dimensions)))
