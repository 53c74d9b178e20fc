"""One request after the other, whatever becomes of each: with a stand-in for the model."""

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgewhisper.deploy.service.limits import Refusal
from edgewhisper.deploy.service.metrics import Metrics
from edgewhisper.deploy.service.model import Model
from edgewhisper.deploy.service.speech import Speech
from edgewhisper.deploy.service.worker import Begun, Ended, Job, Worker
from edgewhisper.runtime.audio import AudioStream
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.pcm import RawFormat
from edgewhisper.runtime.transcriber import Transcriber

PATIENCE = 10.0  # seconds after which something has gone wrong
WINDOW = 30.0  # seconds
AUDIO = SimpleNamespace(n_frames=3_000, hop_length=160, sample_rate=16_000)


class StandIn:
    """Stands for a transcriber: of each recording it says two words, and before each of them does what it is told."""

    manifest = SimpleNamespace(audio=AUDIO)
    info = SimpleNamespace(language="en")

    def __init__(self, before: Callable[[str], object] = lambda word: None) -> None:
        self._before = before
        self.options: list[DecodingOptions] = []

    def transcribe(
        self, stream: AudioStream, options: DecodingOptions, on_progress: Callable[[float], None]
    ) -> tuple[Iterator[Segment], object]:
        self.options.append(options)
        return self._segments(), self.info

    def _segments(self) -> Iterator[Segment]:
        for word in ("one", "two"):
            self._before(word)
            yield Segment(0, 1, f" {word}", (1, 2), -0.1, 0.0, 1.0, 0.0)


@dataclass
class Work:
    """A worker with its model and its counts."""

    load: Callable[[], StandIn] = StandIn
    most_waiting: int = 8
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.model = Model(cast(Callable[[], Transcriber], self.load))
        self.worker = Worker(self.model, self.metrics, self.most_waiting, idle_unload=0)

    def submit(self, seconds: float = 1.0, is_wanted: Callable[[], bool] = lambda: True) -> Job:
        speech = Speech(RawFormat(16_000), most_seconds=120)
        speech.append(speech.raw, bytes(round(seconds * 16_000) * 2))
        job = Job(speech, DecodingOptions(), is_wanted)
        self.worker.submit(job)
        return job


async def arrivals(job: Job) -> Sequence[Begun | str | Ended | Exception]:
    """All that comes of a job."""
    found: list[Begun | str | Ended | Exception] = []
    while not found or not isinstance(found[-1], Ended | Exception):
        found.append(await asyncio.wait_for(job.arrivals.get(), PATIENCE))
    return found


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def test_text_arrives_piece_by_piece() -> None:
    async def ask() -> None:
        work = Work()
        begun, *words, ended = await arrivals(work.submit())
        assert (begun, words) == (Begun("en"), [" one", " two"])
        assert isinstance(ended, Ended)
        await work.worker.stop()
        assert (work.metrics.transcribed, work.metrics.audio_seconds) == (1, 1.0)

    run(ask())


def test_what_fits_a_window_is_decoded_without_timestamps() -> None:
    async def ask() -> None:
        transcriber = StandIn()
        work = Work(lambda: transcriber)
        for seconds in (1, WINDOW, WINDOW + 0.1):
            await arrivals(work.submit(seconds))
        assert [options.timestamps for options in transcriber.options] == [False, False, True]
        await work.worker.stop()

    run(ask())


def test_a_job_whose_client_has_gone_is_not_begun() -> None:
    async def ask() -> None:
        transcriber = StandIn()
        work = Work(lambda: transcriber)
        (gone,) = await arrivals(work.submit(is_wanted=lambda: False))
        assert isinstance(gone, ConnectionResetError)
        assert not work.model.is_loaded
        await work.worker.stop()

    run(ask())


def test_a_job_whose_client_goes_meanwhile_ends_with_its_segment() -> None:
    async def ask() -> None:
        words: list[str] = []
        work = Work(lambda: StandIn(words.append))
        begun, word, gone = await arrivals(work.submit(is_wanted=lambda: not words))
        assert (begun, word, words) == (Begun("en"), " one", ["one"])
        assert isinstance(gone, ConnectionResetError)
        await work.worker.stop()
        assert (work.metrics.transcribed, work.metrics.running) == (0, 0)

    run(ask())


def test_a_job_that_runs_counts_as_running_after_the_one_before_it_has_ended() -> None:
    async def ask() -> None:
        begun, goes_on = threading.Semaphore(0), threading.Event()

        def wait(word: str) -> None:
            if word == "one":
                begun.release()
            elif len(transcriber.options) == 2:
                goes_on.wait(PATIENCE)

        transcriber = StandIn(wait)
        work = Work(lambda: transcriber)
        first, second = work.submit(), work.submit()
        for _ in range(
            2
        ):  # the loop stands still meanwhile, so that it finds the end of the first and the second at once
            assert begun.acquire(timeout=PATIENCE)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (work.metrics.running, work.metrics.waiting) == (1, 0)
        goes_on.set()
        for job in (first, second):
            assert isinstance((await arrivals(job))[-1], Ended)
        await work.worker.stop()
        assert (work.metrics.running, work.metrics.waiting) == (0, 0)

    run(ask())


def test_more_jobs_than_may_wait_are_refused() -> None:
    async def ask() -> None:
        goes_on = threading.Event()
        work = Work(lambda: StandIn(lambda word: goes_on.wait(PATIENCE)), most_waiting=2)
        jobs = [work.submit() for _ in range(3)]
        with pytest.raises(
            Refusal, match=r"3 requests are being transcribed or wait; .* ask again"
        ) as refused:
            work.submit()
        assert refused.value.code == "busy"
        goes_on.set()
        for job in jobs:
            assert isinstance((await arrivals(job))[-1], Ended)
        assert isinstance((await arrivals(work.submit()))[-1], Ended)
        await work.worker.stop()

    run(ask())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (MemoryError, ""),
        (RuntimeError, "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : std::bad_alloc"),
        (
            RuntimeError,
            "BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer of size 1",
        ),
    ],
)
def test_without_memory_the_model_is_freed(
    kind: type[Exception], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    models: list[weakref.ref[StandIn]] = []

    def fail(word: str) -> None:
        raise kind(message)

    def load() -> StandIn:
        model = StandIn(fail if not models else lambda word: None)
        models.append(weakref.ref(model))
        return model

    async def ask() -> None:
        work = Work(load)
        _, refusal = await arrivals(work.submit())
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.text[:17]) == ("failed", "not enough memory")
        assert models[0]() is None, "nothing holds it"
        assert not work.model.is_loaded
        assert isinstance((await arrivals(work.submit()))[-1], Ended), "and it is loaded again"
        await work.worker.stop()

    run(ask())
    assert "unexpected" not in caplog.text


def test_an_unexpected_error_is_the_clients_answer_and_stands_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(word: str) -> None:
        raise RuntimeError("no one thought of it")

    async def ask() -> None:
        work = Work(lambda: StandIn(fail))
        *_, refusal = await arrivals(work.submit())
        assert isinstance(refusal, Refusal)
        assert refusal.code == "failed"
        assert work.model.is_loaded
        await work.worker.stop()

    run(ask())
    assert "no one thought of it" in caplog.text


def test_it_is_stuck_when_there_is_work_and_no_step_for_long() -> None:
    async def ask() -> None:
        goes_on = threading.Event()
        work = Work(lambda: StandIn(lambda word: goes_on.wait(PATIENCE)))
        assert not work.worker.is_stuck(0), "there is no work"
        job = work.submit()
        time.sleep(0.05)
        assert work.worker.is_stuck(0.04)
        assert not work.worker.is_stuck(PATIENCE)
        goes_on.set()
        await arrivals(job)
        await work.worker.stop()
        await asyncio.sleep(0.01)
        assert not work.worker.is_stuck(0)

    run(ask())
