"""Greedy decoding of several windows at once; one that ends makes room for the next.

A slot reads its window's prompt token by token beside the steps of the others, so that windows begin at any time.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgewhisper.artifact import TokenIds

from .decoding import Decoded, Text
from .options import Statistics
from .protocols import CrossKV, Floats
from .rules import LogitsRule
from .sampling import Greedy, probability
from .slots import Slots


@dataclass(eq=False)
class Job:
    """A window to be decoded.

    Attributes:
        prompt: the tokens before its text.
        rules: run on every row of logits, in this order.
        limit: tokens of its text at most.
        statistics: counts tokens and seconds; a step's time is shared by the windows that take part.
        started: of its transcription, for the time to the first token.
        owner: what it belongs to; the loop does not look inside.
    """

    prompt: Sequence[int]
    rules: Sequence[LogitsRule]
    limit: int
    statistics: Statistics
    started: float
    owner: Any
    text: Text = field(init=False)
    read: int = field(init=False)  # tokens in the cache
    # Where the prompt has its last <|startoftranscript|>, after which silence is judged.
    start: int = field(init=False)
    no_speech_prob: float = field(init=False)

    def restart(self, tokens: TokenIds) -> None:
        """Begin, or begin anew."""
        self.text = Text(self.limit, tokens.end_of_text)
        self.read, self.no_speech_prob = 0, 0.0
        self.start = len(self.prompt) - 1 - list(reversed(self.prompt)).index(tokens.start_of_transcript)


class BatchLoop:
    """Decodes jobs in the slots of one decoder."""

    def __init__(self, slots: Slots, tokens: TokenIds, vocab_size: int) -> None:
        """Take the slots, and the model's special tokens."""
        self._slots = slots
        self._tokens = tokens
        self._chooser = Greedy(vocab_size)
        self.jobs: list[Job] = []
        """Those that are being decoded; each has the slot of its place here."""

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return len(self.jobs) < self._slots.count

    def begin(self, job: Job, cross: CrossKV) -> None:
        """Put a job into a free slot, with its window's keys and values."""
        self._slots.fill(len(self.jobs), cross)
        job.restart(self._tokens)
        self.jobs.append(job)

    def step(self) -> list[tuple[Job, Decoded]]:
        """One token for every job; returns those that end with it."""
        started = time.perf_counter()
        running = list(self.jobs)
        rows = self._slots.step([self._next(job) for job in running], [job.read for job in running])
        ended = [job for job, row in zip(running, rows, strict=True) if self._took(job, row)]
        for job in ended:
            self._leave(job)
        share = (time.perf_counter() - started) / len(running)
        for job in running:
            job.statistics.decoder_seconds += share
        for job in ended:
            job.statistics.tokens += len(job.text.tokens) + (not job.text.is_full)
        return [(job, job.text.decoded(job.no_speech_prob, 0.0)) for job in ended]

    def _leave(self, job: Job) -> None:
        """Make room; the last job takes the place."""
        place, last = self.jobs.index(job), len(self.jobs) - 1
        if place != last:
            self._slots.move(last, place)
            self.jobs[place] = self.jobs[last]
        self.jobs.pop()

    def _took(self, job: Job, row: Floats) -> bool:
        """Take a row of logits; returns whether the job's text has ended."""
        if job.read == job.start and self._tokens.no_speech is not None:
            job.no_speech_prob = probability(row, self._tokens.no_speech)
        job.read += 1
        if job.read < len(job.prompt):
            return False
        for rule in job.rules:
            rule.apply(row, job.text.tokens)
        job.text.add(*self._chooser.choose(row))
        if job.statistics.first_token_seconds is None:
            job.statistics.first_token_seconds = time.perf_counter() - job.started
        return job.text.ended

    def _next(self, job: Job) -> int:
        return job.prompt[job.read] if job.read < len(job.prompt) else job.text.tokens[-1]
