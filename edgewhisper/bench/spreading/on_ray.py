"""Recordings on a Ray cluster: Ray Data starts the processes, hands out the recordings and repeats what is lost with a process."""

import contextlib
import logging
import math
import os
import pickle
import re
import socket
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import ray.data
import ray.exceptions

from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.errors import EdgeWhisperError, UsageError

from .job import ATTEMPTS, Done, Engine, Job

_PORTION = 10_000
_PORTION_BYTES = 512 << 20
"""Of a data set of Ray: recordings, and what is in them where the corpus holds their bytes. A job starts anew for each, which takes
seconds, where a portion takes minutes to hours."""

_IN_FLIGHT = 2
"""Recordings of each process: one that it works on, and one that is there when it is done."""

_PATIENCE = 5.0
"""Seconds, with a cluster that does not answer."""

_GPU_PROVIDERS = ("cuda", "tensorrt")
"""Ray hides the GPUs from a process that did not ask for one."""


def ray_engine(jobs: int) -> Engine:
    """Works with `jobs` processes of a Ray cluster.

    The cluster is the one that this process is connected to, else the one of RAY_ADDRESS, else the one that `ray start` started on this
    machine, else one on this machine that ends with the engine. A process has `Job.threads` processors to itself; None: as many as let
    all processes run at once. Every node needs this release of edgewhisper, and the artifact, the recordings and what a job writes under the
    same paths as here (a shared file system); recordings whose bytes the corpus holds, as data sets do, are sent to it.

    A recording whose process dies is done again by another one; one whose processes die each of three times is given up, and its
    outcome says so. Of a large corpus, only a portion is in memory at a time (up to 10,000 recordings or 512 MiB).

    The outcomes raise, before or in between:
        UsageError: no node of the cluster has enough processors.
        EdgeWhisperError: no cluster can be reached or started, Ray gives up, or the job cannot start on a node.
    """

    return _Ray(jobs)


class _Ray:
    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def __call__(self, job: Job[Done], utterances: Iterator[Utterance]) -> Generator[Done, None, None]:
        portion = _portion(utterances)
        if not portion:
            return
        with _cluster(max(os.cpu_count() or 1, self._jobs * (job.threads or 1))):
            nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
            threads, gpus = share(job.threads, job.provider, self._jobs, nodes)
            job = job.with_threads(threads)
            while portion:
                yield from _work(job, threads, portion, self._jobs, gpus)
                portion = _portion(utterances)


def share(
    threads: int | None, provider: str, jobs: int, nodes: Sequence[Mapping[str, float]]
) -> tuple[int, float]:
    """Processors and GPUs of each process, such that `jobs` processes fit on nodes with these resources; `threads` if they are given.

    Raises:
        UsageError: not a single one fits.
    """
    processors = [int(node.get("CPU", 0)) for node in nodes]
    largest = max(processors, default=0)
    n_gpus = sum(node.get("GPU", 0) for node in nodes) if provider in _GPU_PROVIDERS else 0
    if threads is None:
        fitting = (
            n for n in range(1, largest + 1) if sum(available // n for available in processors) >= jobs
        )
        threads = max(fitting, default=1)
    if threads > largest:
        raise UsageError(
            f"no node of the Ray cluster has {threads} processors (the largest has {largest}); lower --threads, or add nodes"
        )
    return threads, 1 / math.ceil(jobs / n_gpus) if n_gpus else 0


def _portion(utterances: Iterator[Utterance]) -> list[Utterance]:
    """The next recordings, their paths absolute, as another process has another folder."""
    found: list[Utterance] = []
    size = 0
    for utterance in utterances:
        if isinstance(utterance.audio, Path):
            utterance = replace(utterance, audio=utterance.audio.absolute())
        elif utterance.audio is not None:
            size += len(utterance.audio)
        found.append(utterance)
        if len(found) == _PORTION or size >= _PORTION_BYTES:
            break
    return found


def _work(
    job: Job[Done], threads: int, portion: Sequence[Utterance], jobs: int, gpus: float
) -> Generator[Done, None, None]:
    waiting = {utterance.key for utterance in portion}
    try:
        # A block for each recording: what dies with a process is one recording, and a result comes as soon as it is there.
        rows = ray.data.from_items(
            [{"utterance": pickle.dumps(utterance)} for utterance in portion],
            override_num_blocks=len(portion),
        )
        # Ray Data restarts processes and repeats their tasks without limit; the limit for a recording is in `_Worker`.
        attempts = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Attempts).remote()
        outcomes = rows.map(
            _Worker,
            fn_constructor_args=(job, attempts),
            compute=ray.data.ActorPoolStrategy(size=jobs, max_tasks_in_flight_per_actor=_IN_FLIGHT),
            num_cpus=threads,
            num_gpus=gpus or None,
        )
        for row in outcomes.iter_rows():
            outcome = pickle.loads(row["outcome"])
            if isinstance(outcome, EdgeWhisperError):
                raise outcome
            if outcome.key in waiting:
                waiting.remove(outcome.key)
                yield outcome
    except ray.exceptions.RayError as error:
        raise EdgeWhisperError(
            f"Ray gave up ({_reason(error)}); see its logs in /tmp/ray/session_latest/logs, and run the command again, it goes on"
        ) from error
    if waiting:
        raise EdgeWhisperError(
            f"Ray lost {len(waiting)} recordings, such as {min(waiting)}; run the command again, it goes on with them"
        )


def _reason(error: Exception) -> str:
    """One line of the pages that Ray writes: where there is a traceback, what was raised."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    raised = [line for line in lines if re.match(r"(?!ray\.)[\w.]+(Error|Exception)\b", line)]
    return (raised or lines)[-1].strip()


class _Attempts:
    """How often each recording was begun; outlives the processes that die of one."""

    def __init__(self) -> None:
        self._begun: Counter[str] = Counter()

    def begin(self, key: str) -> int:
        self._begun[key] += 1
        return self._begun[key]


class _Worker:
    """What each process does: it starts the job once, and does a recording a row."""

    def __init__(self, job: Job[Done], attempts: Any) -> None:
        self._job = job
        self._attempts = attempts
        self._problem: EdgeWhisperError | None = None
        try:
            self._do = job.start()
        except EdgeWhisperError as error:  # handed over as an outcome, as Ray makes pages of it
            self._problem = EdgeWhisperError(f"{error} (on the Ray node {socket.gethostname()})")

    def __call__(self, row: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {"outcome": pickle.dumps(self._problem or self._outcome(pickle.loads(row["utterance"])))}

    def _outcome(self, utterance: Utterance) -> Any:
        if ray.get(self._attempts.begin.remote(utterance.key)) > ATTEMPTS:
            return self._job.lost(utterance, f"its process was killed {ATTEMPTS} times")
        return self._do(utterance)


@contextlib.contextmanager
def _cluster(processors: int) -> Iterator[None]:
    """Connected to the cluster that there is, or to one on this machine with this many processors."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    if ray.is_initialized():
        yield
        return
    try:
        _connect(processors)
    except Exception as error:  # what Ray raises where it does not start has no common base but Exception
        advice = (
            "check RAY_ADDRESS, and give RAY_AUTH_MODE=token where the cluster asks for one"
            if os.environ.get("RAY_ADDRESS")
            else "see its logs in /tmp/ray/session_latest/logs"
        )
        raise EdgeWhisperError(f"Ray: {_reason(error)}; {advice}, or use --engine local") from error
    try:
        yield
    finally:
        ray.shutdown()


def _connect(processors: int) -> None:
    host, _, port = os.environ.get("RAY_ADDRESS", "").removeprefix("ray://").rpartition(":")
    if host:  # Ray itself tries for a quarter of an hour
        try:
            socket.create_connection((host, port), _PATIENCE).close()
        except OSError as error:
            raise ConnectionError(f"no cluster at {host}:{port} ({error})") from None
    try:
        ray.init(
            num_cpus=processors, include_dashboard=False, log_to_driver=False, logging_level=logging.CRITICAL
        )
    except ValueError:  # a cluster that is there has its own number of processors
        ray.init(log_to_driver=False, logging_level=logging.CRITICAL)
