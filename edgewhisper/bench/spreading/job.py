"""What is done with each recording of a corpus, and what does it."""

from collections.abc import Callable, Generator, Iterator
from typing import Protocol, Self, TypeVar

from edgewhisper.bench.corpora.utterance import Utterance


class Outcome(Protocol):
    """What came of a recording."""

    @property
    def key(self) -> str:
        """The recording's."""
        ...


Done = TypeVar("Done", bound=Outcome)
DoneCovariant = TypeVar("DoneCovariant", bound=Outcome, covariant=True)


class Job(Protocol[DoneCovariant]):
    """Work on recordings; it is sent to the processes that do it, so it can be pickled and its paths are absolute."""

    @property
    def threads(self) -> int | None:
        """Of one process; None leaves the number to ONNX Runtime."""
        ...

    @property
    def provider(self) -> str:
        """Of ONNX Runtime, as `runtime.session.PROVIDERS` names it."""
        ...

    def with_threads(self, threads: int) -> Self:
        """The same with so many."""
        ...

    def start(self) -> Callable[[Utterance], DoneCovariant]:
        """Load what it takes, once in each process; what is wrong with a recording is part of its outcome.

        Raises:
            EdgeWhisperError: it cannot be loaded.
        """
        ...

    def lost(self, utterance: Utterance, problem: str) -> DoneCovariant:
        """The outcome of a recording whose processes die."""
        ...


class Engine(Protocol):
    """Does a job with recordings; gives the outcomes in any order, each recording's once."""

    def __call__(self, job: Job[Done], utterances: Iterator[Utterance]) -> Generator[Done, None, None]:
        """Outcomes as they come."""
        ...


ATTEMPTS = 3
"""Of a recording whose process is killed meanwhile."""
