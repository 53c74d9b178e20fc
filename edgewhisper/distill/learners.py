"""What drafts of each kind learn from lessons: cross-entropy on the main model's tokens, divergence from its probabilities."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft

from .draft_model import DraftDecoder, StudentDecoder
from .heads_model import HeadsDecoder
from .teacher import Lesson

IGNORED = -100
_CROSS_ENTROPY_SHARE = 0.5
_WRONG_SHARE = 0.08
"""Of the tokens that the draft reads, replaced by others of their batch: a draft sees few recordings and learns their text by heart."""

GUESSES = 4
"""Tokens that heads guess in a row."""

_LATER = 0.8
"""How much a guess counts beside the one before it."""

Cross = list[tuple[torch.Tensor, torch.Tensor]]


class Learner(Protocol):
    """A draft that learns."""

    @property
    def model(self) -> "DraftDecoder | HeadsDecoder":
        """Its module."""
        ...

    def loss(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """Of a batch."""
        ...

    def count(self, lessons: Sequence[Lesson]) -> tuple[int, int]:
        """How many tokens of a batch it guesses, each after the right ones, and how many there are."""
        ...


def ranks_of(tokens: Sequence[int], vocabulary: int) -> torch.Tensor:
    """Token id -> its row in the shortlist; `IGNORED` where it has none."""
    ranks = torch.full((vocabulary,), IGNORED)
    ranks[torch.tensor(tokens)] = torch.arange(len(tokens))
    return ranks


class SharedLearner:
    """A decoder of few layers: every token follows those before it."""

    def __init__(
        self, checkpoint: Checkpoint, draft: Draft, ranks: torch.Tensor, device: torch.device
    ) -> None:
        self.model = self._module(checkpoint, draft).to(device)
        self._ranks, self._device = ranks.to(device), device

    def _module(self, checkpoint: Checkpoint, draft: Draft) -> DraftDecoder:
        return DraftDecoder(checkpoint, draft)

    def _logits(self, lessons: Sequence[Lesson], ids: torch.Tensor, cross: Cross) -> torch.Tensor:
        logits: torch.Tensor = self.model(ids, cross)
        return logits

    def loss(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """Over all tokens of the texts."""
        ids, following, cross = _batch(lessons, self._device)
        asked = following != IGNORED
        wrong = asked & (torch.rand(ids.shape, device=self._device) < _WRONG_SHARE)
        others = torch.randint(int(asked.sum()), (int(wrong.sum()),), device=self._device)
        ids[wrong] = ids[asked][others]
        logits = self._logits(lessons, ids, cross)[asked]
        likeliest, logprobs = (
            np.concatenate([getattr(x, name)[x.first - 1 : len(x.tokens) - 1] for x in lessons])
            for name in ("likeliest", "logprobs")
        )
        return _learnt(
            logits,
            following[asked],
            torch.from_numpy(likeliest).to(self._device).long(),
            torch.from_numpy(logprobs).to(self._device),
            self._ranks,
        )

    def count(self, lessons: Sequence[Lesson]) -> tuple[int, int]:
        """Over all tokens of the texts."""
        ids, following, cross = _batch(lessons, self._device)
        guesses = self.model.tokens[self._logits(lessons, ids, cross).argmax(-1)]
        wanted = following != IGNORED
        return int((guesses[wanted] == following[wanted]).sum()), int(wanted.sum())


class StudentLearner(SharedLearner):
    """A student: it writes text alone, so it learns the prompt's tokens too, the language among them, and every token there is."""

    def __init__(
        self, checkpoint: Checkpoint, draft: Draft, ranks: torch.Tensor, device: torch.device
    ) -> None:
        super().__init__(checkpoint, draft, ranks, device)
        self._start = checkpoint.token_ids.start_of_transcript

    def _module(self, checkpoint: Checkpoint, draft: Draft) -> DraftDecoder:
        return StudentDecoder(checkpoint, draft)

    def _logits(self, lessons: Sequence[Lesson], ids: torch.Tensor, cross: Cross) -> torch.Tensor:
        encoded = np.stack([lesson.encoded for lesson in lessons if lesson.encoded is not None])
        assert isinstance(self.model, StudentDecoder)
        return self.model.forward_encoded(ids, torch.from_numpy(encoded).to(self._device).float())

    def loss(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """Over everything after the start of the transcript."""
        return super().loss([self._from_start(lesson) for lesson in lessons])

    def _from_start(self, lesson: Lesson) -> Lesson:
        start = int(np.flatnonzero(lesson.tokens[: lesson.first] == self._start)[-1])
        return replace(lesson, first=start + 1)


class HeadsLearner:
    """Heads: from the hidden state after every token, the tokens after the next one."""

    def __init__(
        self, checkpoint: Checkpoint, draft: Draft, ranks: torch.Tensor, device: torch.device
    ) -> None:
        self.model = HeadsDecoder(checkpoint, draft).to(device)
        self._ranks, self._device = ranks.to(device), device

    def loss(self, lessons: Sequence[Lesson]) -> torch.Tensor:
        """Over all tokens of the texts but the first, each guessed from up to `GUESSES` tokens before."""
        lessons = [_text_alone(lesson) for lesson in lessons]
        ids, following, cross = _batch(lessons, self._device)
        likeliest, logprobs = (
            self._padded([getattr(x, name) for x in lessons], ids.shape[1])
            for name in ("likeliest", "logprobs")
        )
        state = self._padded([_hidden(x) for x in lessons], ids.shape[1])
        total, weight, weights = torch.zeros((), device=self._device), 1.0, 0.0
        for step in range(1, min(GUESSES, ids.shape[1] - 1) + 1):
            # Position t of the state is t + step of the text.
            state = self.model(state[:, : ids.shape[1] - step], ids[:, step:], cross)
            wanted = _wanted(following, step)
            if not wanted.any():
                break
            total = total + weight * _learnt(
                self.model.logits(state[wanted]),
                following[:, step:][wanted],
                likeliest[:, step:][wanted].long(),
                logprobs[:, step:][wanted],
                self._ranks,
            )
            weights += weight
            weight *= _LATER
        return total / max(weights, 1e-6)

    def count(self, lessons: Sequence[Lesson]) -> tuple[int, int]:
        """Of all guesses that follow right ones or are the first."""
        lessons = [_text_alone(lesson) for lesson in lessons]
        ids, following, cross = _batch(lessons, self._device)
        state = self._padded([_hidden(x) for x in lessons], ids.shape[1])
        right = asked = 0
        so_far = torch.ones(ids.shape, dtype=torch.bool, device=self._device)
        for step in range(1, min(GUESSES, ids.shape[1] - 1) + 1):
            state = self.model(state[:, : ids.shape[1] - step], ids[:, step:], cross)
            guesses = self.model.tokens[self.model.logits(state).argmax(-1)]
            wanted = _wanted(following, step)
            agree = guesses == following[:, step:]
            so_far = so_far[:, : agree.shape[1]]
            asked += int((wanted & so_far).sum())
            so_far = so_far & agree
            right += int((wanted & so_far).sum())
        return right, asked

    def _padded(self, arrays: Sequence[NDArray[np.generic]], length: int) -> torch.Tensor:
        """Arrays [S, n] -> [B, length, n], cut or filled with zeros."""
        padded = np.zeros((len(arrays), length, arrays[0].shape[1]), arrays[0].dtype)
        for row, array in enumerate(arrays):
            kept = min(length, len(array))
            padded[row, :kept] = array[:kept]
        return torch.from_numpy(padded).to(self._device)


def _wanted(following: torch.Tensor, step: int) -> torch.Tensor:
    """Where a state that began in the text, or just before it, has a token to guess after `step` steps [B, S - step]."""
    return (following[:, step:] != IGNORED) & (following[:, :-step] != IGNORED)


def _text_alone(lesson: Lesson) -> Lesson:
    """A lesson without its prompt but the last token: heads know what was said by the hidden state, not by reading it."""
    first = lesson.first - 1
    assert lesson.hidden is not None
    return replace(
        lesson,
        tokens=lesson.tokens[first:],
        first=1,
        likeliest=lesson.likeliest[first:],
        logprobs=lesson.logprobs[first:],
        hidden=lesson.hidden[first:],
    )


def _hidden(lesson: Lesson) -> NDArray[np.float32]:
    assert lesson.hidden is not None
    return lesson.hidden.astype(np.float32)


def _batch(lessons: Sequence[Lesson], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, Cross]:
    """ids [B, S], next tokens [B, S] where the text is, and keys and values of each layer."""
    longest = max(len(lesson.tokens) for lesson in lessons) - 1
    ids = torch.zeros(len(lessons), longest, dtype=torch.long)
    following = torch.full((len(lessons), longest), IGNORED)
    for row, lesson in enumerate(lessons):
        tokens = torch.from_numpy(lesson.tokens.astype(np.int64))
        ids[row, : len(tokens) - 1] = tokens[:-1]
        following[row, lesson.first - 1 : len(tokens) - 1] = tokens[lesson.first :]
    cross = [
        tuple(
            torch.from_numpy(np.stack([lesson.cross[layer][part] for lesson in lessons])).to(device).float()
            for part in (0, 1)
        )
        for layer in range(len(lessons[0].cross))
    ]
    return ids.to(device), following.to(device), [(pair[0], pair[1]) for pair in cross]


def _learnt(
    logits: torch.Tensor,
    following: torch.Tensor,
    likeliest: torch.Tensor,
    logprobs: torch.Tensor,
    ranks: torch.Tensor,
) -> torch.Tensor:
    """logits [N, shortlist], next tokens [N], the main model's likeliest tokens [N, L] and their log-probabilities -> the loss."""
    targets = ranks[following]
    known_targets = max(1, int((targets != IGNORED).sum()))
    cross_entropy = F.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum") / known_targets
    places = ranks[likeliest]
    known = places != IGNORED
    probabilities = logprobs.exp() * known
    probabilities = probabilities / probabilities.sum(-1, keepdim=True).clamp_min(1e-6)
    said = logits.log_softmax(-1).gather(-1, places.clamp_min(0))
    divergence: torch.Tensor = (
        (probabilities * (probabilities.clamp_min(1e-9).log() - said) * known).sum(-1).mean()
    )
    return divergence + _CROSS_ENTROPY_SHARE * cross_entropy
