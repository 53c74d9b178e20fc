"""A corpus on its way to results, in this process or in several."""

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path

from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcriber import Transcriber

from .results import Result

_IN_FLIGHT = 4
"""Recordings that wait for each process."""

_ATTEMPTS = 3
"""Of a recording whose process is killed while it is transcribed alone."""


@dataclass(frozen=True)
class Task:
    """How a corpus is transcribed.

    Attributes:
        artifact: its folder.
        options: of decoding.
        language: of every recording; None: as the corpus states it, else as the model hears it.
        threads: of one process; None leaves the number to ONNX Runtime.
        provider: see `Transcriber`.
    """

    artifact: Path
    options: DecodingOptions
    language: str | None = None
    threads: int | None = None
    provider: str = "cpu"

    def transcriber(self) -> Transcriber:
        """The artifact, loaded; raises what `Transcriber` raises."""
        return Transcriber(self.artifact, self.provider, self.threads)


def transcribe_utterance(transcriber: Transcriber, task: Task, utterance: Utterance) -> Result:
    """One recording; what is wrong with it is part of the result."""
    result = Result(
        utterance.key, utterance.stamp, utterance.text, None, utterance.language, problem=utterance.problem
    )
    if utterance.audio is None:
        return result
    language = task.language or _known(transcriber, utterance.language)
    result = replace(result, spoken=utterance.language)
    started = time.perf_counter()
    try:
        with utterance.open(transcriber.manifest.audio.sample_rate) as stream:
            segments, info = transcriber.transcribe(stream, replace(task.options, language=language))
            found = list(segments)
    except EdgeWhisperError as error:
        return replace(result, problem=str(error))
    return replace(
        result,
        text="".join(segment.text for segment in found).strip(),
        language=info.language,
        tokens=tuple(token for segment in found for token in segment.tokens),
        audio=round(info.processed, 3),
        seconds=round(time.perf_counter() - started, 4),
    )


def _known(transcriber: Transcriber, language: str | None) -> str | None:
    """A corpus' language where the model has it: "de", or "de" of "de-AT"."""
    short = short_code(language)
    return short if short in transcriber.manifest.tokens.languages else None


def short_code(language: str | None) -> str | None:
    """The code of a language without its region: "de" of "de-AT"."""
    return None if language is None else language.lower().partition("-")[0].partition("_")[0]


def transcribe_here(task: Task, utterances: Iterable[Utterance]) -> Generator[Result, None, None]:
    """Results in the order of the corpus."""
    transcriber = task.transcriber()
    for utterance in utterances:
        yield transcribe_utterance(transcriber, task, utterance)


def transcribe_in_processes(
    task: Task, utterances: Iterable[Utterance], jobs: int
) -> Generator[Result, None, None]:
    """Results as they come, from `jobs` processes that share the processors.

    Only a few recordings wait at a time. Where a process is killed, those that were on their way are transcribed again, one at a time; a
    recording that kills its process again and again is given up.
    """
    if task.threads is None:
        task = replace(task, threads=max(1, (os.cpu_count() or 1) // jobs))
    source = iter(utterances)
    suspects: list[Utterance] = []  # were on their way when a process was killed; one of them may be why
    attempts: dict[str, int] = {}
    taken: Utterance | None = None
    while True:
        with _pool(task, jobs) as pool:
            waiting: dict[Future[Result], Utterance] = {}
            try:
                while True:
                    while len(waiting) < (1 if suspects else _IN_FLIGHT * jobs):
                        utterance = suspects[-1] if suspects else next(source, None)
                        if utterance is None or utterance in waiting.values():
                            break
                        taken = utterance
                        waiting[pool.submit(_in_process, utterance)] = utterance
                        taken = None
                    if not waiting:
                        return
                    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        result = future.result()
                        utterance = waiting.pop(future)
                        if utterance in suspects:
                            suspects.remove(utterance)
                        yield result
            except BrokenProcessPool:
                if not suspects:  # what could not be handed over any more among them
                    suspects = [*waiting.values(), *([taken] if taken is not None else [])]
                    continue
                utterance = suspects[-1]
                attempts[utterance.key] = attempts.get(utterance.key, 0) + 1
                if attempts[utterance.key] == _ATTEMPTS:
                    suspects.pop()
                    yield Result(
                        utterance.key, utterance.stamp, utterance.text, None, utterance.language,
                        problem=f"its process was killed {_ATTEMPTS} times",
                    )  # fmt: skip


@contextlib.contextmanager
def _pool(task: Task, jobs: int) -> Iterator[ProcessPoolExecutor]:
    # Forked processes would inherit ONNX Runtime's threads as they are not.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, _load, (task,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_loaded: Callable[[Utterance], Result] | None = None


def _load(task: Task) -> None:
    """Load the artifact, in a process of its own, when the first recording comes."""
    global _loaded
    transcriber: list[Transcriber] = []

    def transcribe(utterance: Utterance) -> Result:
        if not transcriber:
            transcriber.append(task.transcriber())
        return transcribe_utterance(transcriber[0], task, utterance)

    _loaded = transcribe


def _in_process(utterance: Utterance) -> Result:
    assert _loaded is not None
    return _loaded(utterance)
