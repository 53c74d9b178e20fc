"""Trains a draft on what its main model says: cross-entropy on its greedy tokens, divergence from its probabilities.

A draft is judged by its acceptance: the share of the main model's tokens that it guesses, each after the right ones.
"""

import json
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft

from .draft_model import DraftDecoder
from .teacher import Lesson, read_lesson

_RATE, _FINAL_SHARE, _WARM_UP = 1.5e-3, 0.02, 50
_BETAS, _WEIGHT_DECAY, _LARGEST_GRADIENT = (0.9, 0.98), 0.01, 1.0
_CROSS_ENTROPY_SHARE = 0.5
_WRONG_SHARE = 0.08
"""Of the tokens that the draft reads, replaced by others of their batch: a draft sees few recordings and learns their text by heart."""

_BATCH = 32
_SEED = 11
_IGNORED = -100
_HELD_OUT_MOST = 256
"""Windows that acceptance is measured on."""


@dataclass(frozen=True)
class DraftTraining:
    """How long to train, and how often to say and to save what came of it."""

    steps: int
    evaluate_every: int = 100


@dataclass(frozen=True)
class LearningPoint:
    """One line of the log: `acceptance` is on held-out windows, `loss` the mean since the last line."""

    step: int
    seconds: float
    loss: float
    acceptance: float


def train_draft(
    checkpoint: Checkpoint,
    draft: Draft,
    lessons: Sequence[Path],
    held_out: Sequence[Path],
    options: DraftTraining,
    work: Path,
    progress: Callable[[LearningPoint], None] = lambda point: None,
) -> Draft:
    """Train to the end, from the last saved step if there is any.

    Args:
        checkpoint: the main model.
        draft: where to begin.
        lessons: files of `write_lesson` to learn from,
        held_out: and to measure acceptance on.
        options: how long.
        work: holds the training's state and `log.jsonl`.
        progress: told every `options.evaluate_every` steps.
    """
    torch.manual_seed(_SEED)
    model = DraftDecoder(checkpoint, draft)
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE, betas=_BETAS, weight_decay=_WEIGHT_DECAY)
    ranks = _ranks(draft.info.tokens, checkpoint.dimensions.vocab_size)
    tested = [read_lesson(path) for path in held_out[:_HELD_OUT_MOST]]
    state, step, seconds = work / "training.pt", 0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds = saved["step"], saved["seconds"]
    started, total, counted = time.monotonic() - seconds, 0.0, 0
    acceptance = _acceptance(model, tested, ranks)
    while step < options.steps:
        for group in optimizer.param_groups:
            group["lr"] = _rate(step, options.steps)
        torch.manual_seed(_SEED + step)  # so that resumed training sees what uninterrupted training does
        chosen = random.Random(_SEED * 1_000_003 + step).sample(lessons, min(_BATCH, len(lessons)))
        loss = _loss(model, [read_lesson(path) for path in chosen], ranks)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
        optimizer.step()
        total, counted, step = total + float(loss.detach()), counted + 1, step + 1
        if step % options.evaluate_every == 0 or step == options.steps:
            acceptance = _acceptance(model, tested, ranks)
            seconds = time.monotonic() - started
            point = LearningPoint(step, round(seconds, 1), total / counted, acceptance)
            total, counted = 0.0, 0
            _save(state, model, optimizer, step, seconds)
            with (work / "log.jsonl").open("a") as log:
                log.write(json.dumps(asdict(point)) + "\n")
            progress(point)
    return Draft(replace(draft.info, acceptance=round(acceptance, 4)), model.arrays())


def _save(
    path: Path, model: DraftDecoder, optimizer: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    partial = path.with_suffix(".partial")
    saved = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(saved, partial)
    partial.replace(path)


def _rate(step: int, steps: int) -> float:
    """Linear warm-up, then a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / steps))
    return _RATE * min(1.0, (step + 1) / _WARM_UP) * (_FINAL_SHARE + (1 - _FINAL_SHARE) * cosine)


def _ranks(tokens: Sequence[int], vocabulary: int) -> torch.Tensor:
    """Token id -> its row in the shortlist; `_IGNORED` where it has none."""
    ranks = torch.full((vocabulary,), _IGNORED)
    ranks[torch.tensor(tokens)] = torch.arange(len(tokens))
    return ranks


def _batch(
    lessons: Sequence[Lesson],
) -> tuple[torch.Tensor, torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]:
    """ids [B, S], next tokens [B, S] where the text is, and keys and values of each layer."""
    longest = max(len(lesson.tokens) for lesson in lessons) - 1
    ids = torch.zeros(len(lessons), longest, dtype=torch.long)
    following = torch.full((len(lessons), longest), _IGNORED)
    for row, lesson in enumerate(lessons):
        tokens = torch.from_numpy(lesson.tokens.astype(np.int64))
        ids[row, : len(tokens) - 1] = tokens[:-1]
        following[row, lesson.first - 1 : len(tokens) - 1] = tokens[lesson.first :]
    cross = [
        tuple(
            torch.from_numpy(np.stack([lesson.cross[layer][part] for lesson in lessons])).float()
            for part in (0, 1)
        )
        for layer in range(len(lessons[0].cross))
    ]
    return ids, following, [(pair[0], pair[1]) for pair in cross]


def _loss(model: DraftDecoder, lessons: Sequence[Lesson], ranks: torch.Tensor) -> torch.Tensor:
    ids, following, cross = _batch(lessons)
    asked = following != _IGNORED
    wrong = asked & (torch.rand(ids.shape) < _WRONG_SHARE)
    ids[wrong] = ids[asked][torch.randint(int(asked.sum()), (int(wrong.sum()),))]
    logits = model(ids, cross)[asked]
    targets = ranks[following[asked]]
    cross_entropy = F.cross_entropy(logits, targets, ignore_index=_IGNORED)
    likeliest = torch.cat(
        [torch.from_numpy(x.likeliest[x.first - 1 : len(x.tokens) - 1]).long() for x in lessons]
    )
    logprobs = torch.cat([torch.from_numpy(x.logprobs[x.first - 1 : len(x.tokens) - 1]) for x in lessons])
    places = ranks[likeliest]
    known = places != _IGNORED
    probabilities = logprobs.exp() * known
    probabilities = probabilities / probabilities.sum(-1, keepdim=True).clamp_min(1e-6)
    said = logits.log_softmax(-1).gather(-1, places.clamp_min(0))
    divergence: torch.Tensor = (
        (probabilities * (probabilities.clamp_min(1e-9).log() - said) * known).sum(-1).mean()
    )
    return divergence + _CROSS_ENTROPY_SHARE * cross_entropy


@torch.inference_mode()
def _acceptance(model: DraftDecoder, lessons: Sequence[Lesson], ranks: torch.Tensor) -> float:
    """The share of the text's tokens that the draft guesses, each after the right ones."""
    model.eval()
    right = asked = 0
    for first in range(0, len(lessons), _BATCH):
        ids, following, cross = _batch(lessons[first : first + _BATCH])
        guesses = model.tokens[model(ids, cross).argmax(-1)]
        wanted = following != _IGNORED
        right += int((guesses[wanted] == following[wanted]).sum())
        asked += int(wanted.sum())
    model.train()
    return right / max(1, asked)
