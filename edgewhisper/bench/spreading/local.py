"""Recordings in this process, or in several of this machine."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from edgewhisper.bench.corpora.utterance import Utterance

from .job import ATTEMPTS, Done, Engine, Job

_IN_FLIGHT = 4
"""Recordings that wait for each process."""


def local_engine(jobs: int) -> Engine:
    """This process for one job, whose outcomes come in the order of the corpus, else as many processes."""
    return in_this_process if jobs == 1 else _Processes(jobs)


def in_this_process(job: Job[Done], utterances: Iterator[Utterance]) -> Generator[Done, None, None]:
    """Outcomes in the order of the recordings."""
    do = job.start()
    for utterance in utterances:
        yield do(utterance)


class _Processes:
    """As many processes, which share the processors.

    Only a few recordings wait at a time. Where a process is killed, those that were on their way are done again, one at a time; a
    recording that kills its process again and again is given up.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __call__(self, job: Job[Done], utterances: Iterator[Utterance]) -> Generator[Done, None, None]:
        if job.threads is None:
            job = job.with_threads(max(1, (os.cpu_count() or 1) // self._jobs))
        suspects: list[Utterance] = []  # were on their way when a process was killed; one of them may be why
        attempts: dict[str, int] = {}
        taken: Utterance | None = None
        while True:
            with _pool(job, self._jobs) as pool:
                waiting: dict[Future[Done], Utterance] = {}
                try:
                    while True:
                        while len(waiting) < (1 if suspects else _IN_FLIGHT * self._jobs):
                            utterance = suspects[-1] if suspects else next(utterances, None)
                            if utterance is None or utterance in waiting.values():
                                break
                            taken = utterance
                            waiting[pool.submit(_in_process, utterance)] = utterance
                            taken = None
                        if not waiting:
                            return
                        done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                        for future in done:
                            outcome = future.result()
                            utterance = waiting.pop(future)
                            if utterance in suspects:
                                suspects.remove(utterance)
                            yield outcome
                except BrokenProcessPool:
                    if not suspects:  # what could not be handed over any more among them
                        suspects = [*waiting.values(), *([taken] if taken is not None else [])]
                        continue
                    utterance = suspects[-1]
                    attempts[utterance.key] = attempts.get(utterance.key, 0) + 1
                    if attempts[utterance.key] == ATTEMPTS:
                        suspects.pop()
                        yield job.lost(utterance, f"its process was killed {ATTEMPTS} times")


@contextlib.contextmanager
def _pool(job: Job[Done], jobs: int) -> Iterator[ProcessPoolExecutor]:
    # Forked processes would inherit ONNX Runtime's threads as they are not.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _load, (job,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_do: Callable[[Utterance], Any] | None = None


def _load(job: Job[Done]) -> None:
    """In a process of its own: start when the first recording comes, so that what is raised reaches the one who waits for it."""
    global _do
    started: list[Callable[[Utterance], Done]] = []

    def do(utterance: Utterance) -> Done:
        if not started:
            started.append(job.start())
        return started[0](utterance)

    _do = do


def _in_process(utterance: Utterance) -> Any:
    assert _do is not None
    return _do(utterance)
