"""Transcription of several recordings together: windows of all of them are decoded in the slots of one decoder."""

import logging
import time
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
from .protocols import CrossKV
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
    """

    segments: tuple[Segment, ...]
    info: TranscriptionInfo | None
    error: AudioError | None = None


@dataclass(eq=False)
class _Recording:
    """A recording that is being transcribed."""

    stream: AudioStream | None = None
    transcription: Transcription | None = None
    windows: "deque[_Place]" = field(default_factory=deque)  # asked for and not taken, in their order
    segments: list[Segment] = field(default_factory=list)
    error: AudioError | None = None
    is_read: bool = False  # there are no more windows

    @property
    def is_done(self) -> bool:
        return self.is_read and not self.windows

    def transcript(self) -> Transcript:
        info = None if self.transcription is None else self.transcription.info
        return Transcript(tuple(self.segments), info, self.error)


@dataclass(eq=False)
class _Place:
    """A window of a recording, and its text once it is decoded; keys and values are its own until then."""

    recording: _Recording
    window: Window
    cross: CrossKV | None
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
        self._waiting: deque[_Place] = deque()  # encoded, without a slot
        self._started = time.perf_counter()
        self._loop = self._make_loop(count)

    @property
    def count(self) -> int:
        """Slots in use."""
        return self._count

    def run(self, openers: Iterable[Opener]) -> Iterator[Transcript]:
        """Transcribe recordings; each comes as soon as it and those before it are complete.

        Args:
            openers: open one recording each, when its turn comes.
        """
        coming = iter(openers)
        recordings: deque[_Recording] = deque()
        while True:
            while self._loop.has_room and self._fill(recordings, coming):
                pass
            while recordings and recordings[0].is_done:
                yield self._closed(recordings.popleft())
            if not self._loop.jobs and not recordings:
                return
            if self._loop.jobs:
                self._step()

    def _fill(self, recordings: "deque[_Recording]", coming: Iterator[Opener]) -> bool:
        """Put a window into a free slot; False where none is to be had now."""
        place = self._waiting.popleft() if self._waiting else self._next_place(recordings, coming)
        if place is None:
            return False
        assert place.cross is not None
        transcription = place.recording.transcription
        assert transcription is not None
        limit = self._decoder.max_length - len(place.window.prompt)
        if self._options.max_tokens is not None:
            limit = min(limit, self._options.max_tokens)
        statistics = transcription.info.statistics
        job = Job(place.window.prompt, self._rules, limit, statistics, self._started, place)
        self._loop.begin(job, place.cross)
        place.cross = None
        return True

    def _next_place(self, recordings: "deque[_Recording]", coming: Iterator[Opener]) -> "_Place | None":
        while True:
            for recording in recordings:
                if place := self._window_of(recording):
                    return place
            opener = next(coming, None)
            if opener is None:
                return None
            recordings.append(_opened(opener))

    def _window_of(self, recording: _Recording) -> "_Place | None":
        transcription = recording.transcription
        if recording.is_read or transcription is None:
            return None
        if transcription.is_sequential and recording.windows:
            return None
        try:
            windows = transcription.next_windows(1)
        except AudioError as error:
            recording.error, windows = error, []
        if not windows:
            recording.is_read = True
            return None
        place = _Place(recording, windows[0], windows[0].release())
        recording.windows.append(place)
        return place

    def _step(self) -> None:
        try:
            with self._model.lock:
                ended = self._loop.step()
        except Exception as error:
            if self._count == 1 or not is_allocation_failure(error):
                raise
            # What was being decoded begins anew in fewer slots.
            for job in self._loop.jobs:
                place: _Place = job.owner
                place.cross = self._loop.cross(job)
                self._waiting.append(place)
            self._loop = self._make_loop(self._count // 2)
            return
        for job, decoded in ended:
            self._take(job, decoded)

    def _take(self, job: Job, decoded: Decoded) -> None:
        place: _Place = job.owner
        recording, place.decoded = place.recording, decoded
        transcription = recording.transcription
        assert transcription is not None
        if transcription.is_unsure(decoded):  # decoded once more, at higher temperatures, when its turn comes
            place.cross = self._loop.cross(job)
        while recording.windows and recording.windows[0].decoded is not None:
            first = recording.windows.popleft()
            decide = partial(transcription.decide, first=first.decoded, cross=first.cross)
            recording.segments += transcription.take(first.window, decide)

    def _make_loop(self, count: int) -> BatchLoop:
        positions = self._manifest.dimensions.max_source_positions
        while True:
            try:
                slots = Slots(self._decoder, count, positions)
            except Exception as error:
                if count == 1 or not is_allocation_failure(error):
                    raise
                count //= 2
                _LOG.warning("memory does not suffice for so many windows at once; going on with %d", count)
                continue
            self._count = count
            return BatchLoop(slots, self._model.tokens, self._decoder.head_size)

    def _closed(self, recording: _Recording) -> Transcript:
        if recording.stream is not None:
            recording.stream.close()
        return recording.transcript()


def _opened(opener: Opener) -> _Recording:
    try:
        stream, transcription = opener()
    except AudioError as error:
        return _Recording(error=error, is_read=True)
    return _Recording(stream, transcription)


def is_allocation_failure(error: Exception) -> bool:
    """Whether memory did not suffice; ONNX Runtime says so in words."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(
        x in words for x in ("bad_alloc", "bad allocation", "allocate memory")
    )


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
