"""One transcription at a time, in a thread of its own, and a short queue before it."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from edgewhisper.errors import AudioError, EdgeWhisperError
from edgewhisper.runtime.audio import open_audio
from edgewhisper.runtime.batch import is_allocation_failure
from edgewhisper.runtime.options import DecodingOptions

from .limits import Refusal
from .metrics import Metrics
from .model import Model
from .speech import Speech

_LOG = logging.getLogger("edgewhisper")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Begun:
    """Text follows, in this language."""

    language: str


@dataclass(frozen=True)
class Ended:
    """All text was given."""

    language: str
    seconds: float  # that it took, without waiting
    waited: float


@dataclass(frozen=True)
class Job:
    """One request. What comes of it arrives in its queue: Begun, pieces of text, Ended; or at any time what ends it early."""

    speech: Speech
    options: DecodingOptions
    is_wanted: Callable[
        [], bool
    ]  # whether the client is still there; asked when its turn comes, and after each segment
    arrivals: asyncio.Queue[Begun | str | Ended | Exception] = field(default_factory=asyncio.Queue)
    submitted: float = field(default_factory=time.perf_counter)


class Worker:
    """Runs jobs one after the other. Its methods are called in the event loop's thread."""

    def __init__(self, model: Model, metrics: Metrics, most_waiting: int, idle_unload: float) -> None:
        """Nothing is loaded yet.

        Args:
            model: what transcribes; the worker's thread owns it.
            metrics: where jobs are counted.
            most_waiting: jobs beside the running one.
            idle_unload: seconds without a job after which the model is freed; 0 is never.
        """
        self._model = model
        self._metrics = metrics
        self._most_waiting = most_waiting
        self._idle_unload = idle_unload
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="transcribing")
        self._tasks = 0  # at the thread: jobs, and loading
        self._jobs = 0
        self._stopping = False
        self._last_step = time.monotonic()
        self._idle: asyncio.TimerHandle | None = None

    async def load(self) -> None:
        """Load the model, if it is not there; raises what `Transcriber` raises."""
        await self._run(self._model.transcriber)

    def prepare(self) -> None:
        """Begin to load the model, while a client still speaks. Should it fail, the client's job says so."""
        if self._tasks or self._stopping:
            return
        if self._model.is_loaded:
            self._rest()
        else:
            self._run(self._model.transcriber).add_done_callback(asyncio.Future.exception)

    def submit(self, job: Job) -> None:
        """Take a job.

        Raises:
            Refusal: too many wait, or the service ends.
        """
        if self._stopping:
            raise _ending()
        if self._jobs > self._most_waiting:
            raise Refusal(
                "busy", f"{self._jobs} requests are being transcribed or wait; wait a little, then ask again"
            )
        self._jobs += 1
        self._metrics.waiting += 1
        self._run(lambda: self._serve(job))

    def is_stuck(self, seconds: float) -> bool:
        """Whether the thread has come no step further for so long although there is work."""
        return self._tasks > 0 and time.monotonic() - self._last_step > seconds

    async def stop(self) -> None:
        """End after the running job; jobs that wait are refused."""
        self._stopping = True
        self._wake()
        await asyncio.to_thread(self._thread.shutdown)

    def _run(self, task: Callable[[], _Result]) -> asyncio.Future[_Result]:
        self._wake()
        if not self._tasks:
            self._last_step = time.monotonic()
        self._tasks += 1
        future = self._loop.run_in_executor(self._thread, task)
        future.add_done_callback(self._note_end)
        return future

    def _note_end(self, _: object) -> None:
        self._tasks -= 1
        self._last_step = time.monotonic()
        if not self._tasks and self._model.is_loaded:
            self._rest()

    def _rest(self) -> None:
        """From now on the model is idle."""
        self._wake()
        if self._idle_unload and not self._stopping:
            self._idle = self._loop.call_later(self._idle_unload, self._run, self._model.free)

    def _wake(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _begin(self) -> None:
        self._metrics.waiting -= 1
        self._metrics.running = 1

    def _end(self) -> None:
        self._jobs -= 1
        self._metrics.running = 0

    # In the thread

    def _serve(self, job: Job) -> None:
        self._loop.call_soon_threadsafe(self._begin)
        try:
            self._answer(
                job, lambda arrival: self._loop.call_soon_threadsafe(job.arrivals.put_nowait, arrival)
            )
        finally:  # here, so that it comes before the next job begins
            self._loop.call_soon_threadsafe(self._end)

    def _answer(self, job: Job, say: Callable[[Begun | str | Ended | Exception], object]) -> None:
        if self._stopping:
            say(_ending())
            return
        lacks_memory = False
        try:
            self._transcribe(job, say)
        except AudioError as error:
            say(Refusal("malformed", str(error)))
        except EdgeWhisperError as error:
            _LOG.error("error: %s", error)
            say(Refusal("failed", str(error)))
        except Exception as error:
            lacks_memory = is_allocation_failure(error)
            if not lacks_memory:
                _LOG.exception("error: unexpected; please report it")
                say(Refusal("failed", "an unexpected error, which the service's log shows"))
        if lacks_memory:  # only here, where no traceback holds the model any more
            self._model.free()
            _LOG.error("error: not enough memory; the model was freed")
            say(Refusal("failed", "not enough memory; close other programs or take a smaller model"))

    def _transcribe(self, job: Job, say: Callable[[Begun | str | Ended | Exception], object]) -> None:
        if not job.is_wanted():
            say(_gone())
            return
        started = time.perf_counter()
        transcriber = self._model.transcriber()
        audio = transcriber.manifest.audio
        options = job.options
        if job.speech.seconds <= audio.n_frames * audio.hop_length / audio.sample_rate:
            options = dataclasses.replace(options, timestamps=False)  # one window needs none to go on from
        with open_audio(job.speech.file(), raw=job.speech.raw, target_rate=audio.sample_rate) as stream:
            segments, info = transcriber.transcribe(stream, options, on_progress=self._note_step)
            say(Begun(info.language))
            for segment in segments:
                say(segment.text)
                if not job.is_wanted():
                    say(_gone())
                    return
        seconds = time.perf_counter() - started
        self._loop.call_soon_threadsafe(self._metrics.note, job.speech.seconds, seconds)
        say(Ended(info.language, seconds, started - job.submitted))

    def _note_step(self, _: float) -> None:
        self._last_step = time.monotonic()


def _gone() -> ConnectionResetError:
    return ConnectionResetError("the client has gone")


def _ending() -> Refusal:
    return Refusal("ending", "the service ends; ask again when it is back")
