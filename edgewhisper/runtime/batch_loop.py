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


@dataclass
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
    slot: int = field(init=False)
    text: Text = field(init=False)
    read: int = field(init=False)
    no_speech_prob: float = field(init=False)

    def restart(self, tokens: TokenIds, slot: int) -> None:
        """Begin, or begin anew, in a slot."""
        self.slot = slot
        self.text = Text(self.limit, tokens.end_of_text)
        self.read, self.no_speech_prob = 0, 0.0


class BatchLoop:
    """Decodes jobs in the slots of one decoder."""

    def __init__(self, slots: Slots, tokens: TokenIds, vocab_size: int) -> None:
        """Take the slots, and the model's special tokens."""
        self._slots = slots
        self._tokens = tokens
        self._chooser = Greedy(vocab_size)
        self._jobs: list[Job | None] = [None] * slots.count

    @property
    def jobs(self) -> list[Job]:
        """Those that are being decoded."""
        return [job for job in self._jobs if job is not None]

    @property
    def has_room(self) -> bool:
        """Whether a slot is free."""
        return None in self._jobs

    def begin(self, job: Job, cross: CrossKV) -> None:
        """Put a job into a free slot, with its window's keys and values."""
        slot = self._jobs.index(None)
        self._slots.fill(slot, cross)
        job.restart(self._tokens, slot)
        self._jobs[slot] = job

    def cross(self, job: Job) -> CrossKV:
        """A copy of a job's keys and values; of one that has ended only until another begins."""
        return self._slots.cross(job.slot)

    def step(self) -> list[tuple[Job, Decoded]]:
        """One token for every job; returns those that end with it."""
        started = time.perf_counter()
        running = self.jobs
        tokens = [0 if job is None else self._next(job) for job in self._jobs]
        lengths = [0 if job is None else job.read for job in self._jobs]
        rows = self._slots.step(tokens, lengths)
        ended: list[tuple[Job, Decoded]] = []
        for slot, job in enumerate(self._jobs):
            if job is not None and self._took(job, rows[slot]):
                self._jobs[slot] = None
                ended.append((job, job.text.decoded(job.no_speech_prob, 0.0)))
        share = (time.perf_counter() - started) / len(running)
        for job in running:
            job.statistics.decoder_seconds += share
        return ended

    def _took(self, job: Job, row: Floats) -> bool:
        """Take a row of logits; returns whether the job's text has ended."""
        if job.read == self._start(job) and self._tokens.no_speech is not None:
            job.no_speech_prob = probability(row, self._tokens.no_speech)
        job.read += 1
        if job.read < len(job.prompt):
            return False
        for rule in job.rules:
            rule.apply(row, job.text.tokens)
        job.text.add(*self._chooser.choose(row))
        job.statistics.tokens += 1
        if job.statistics.first_token_seconds is None:
            job.statistics.first_token_seconds = time.perf_counter() - job.started
        return job.text.ended

    def _next(self, job: Job) -> int:
        return job.prompt[job.read] if job.read < len(job.prompt) else job.text.tokens[-1]

    def _start(self, job: Job) -> int:
        """Where the prompt has its last <|startoftranscript|>, after which silence is judged."""
        return len(job.prompt) - 1 - list(reversed(job.prompt)).index(self._tokens.start_of_transcript)
