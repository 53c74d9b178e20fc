"""Trains a draft on what its main model says: cross-entropy on its greedy tokens, divergence from its probabilities.

A draft is judged by its acceptance: the share of the main model's tokens that it guesses, each after the right ones.
"""

import json
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft
from edgewhisper.models.student import Distilled

from .learners import HeadsLearner, Learner, SharedLearner, StudentLearner, ranks_of
from .shelf import Shelf
from .teacher import Lesson, read_lesson

_RATE, _FINAL_SHARE, _WARM_UP = 1.5e-3, 0.02, 50
_BETAS, _WEIGHT_DECAY, _LARGEST_GRADIENT = (0.9, 0.98), 0.01, 1.0
_TESTED_AT_ONCE = 32
_SEED = 11
_LEARNERS: Mapping[Distilled, Callable[[Checkpoint, Draft, torch.Tensor, torch.device], Learner]] = {
    "shared": SharedLearner,
    "heads": HeadsLearner,
    "student": StudentLearner,
}
_HELD_OUT_MOST = 256
"""Windows that acceptance is measured on."""


@dataclass(frozen=True)
class DraftTraining:
    """What to train and how long, and how often to say and to save what came of it.

    Attributes:
        batch: windows of a step.
        device: of PyTorch, "cpu" or "cuda".
    """

    kind: Distilled
    steps: int
    evaluate_every: int = 100
    batch: int = 32
    device: str = "cpu"


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
        options: how long, and what is trained.
        work: holds the training's state and `log.jsonl`.
        progress: told every `options.evaluate_every` steps.
    """
    torch.manual_seed(_SEED)
    device = torch.device(options.device)
    ranks = ranks_of(draft.info.tokens, checkpoint.dimensions.vocab_size)
    learner = _LEARNERS[options.kind](checkpoint, draft, ranks, device)
    model = learner.model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=_RATE, betas=_BETAS, weight_decay=_WEIGHT_DECAY, fused=device.type == "cuda"
    )
    tested = [read_lesson(path) for path in held_out[:_HELD_OUT_MOST]]
    state, step, seconds = work / "training.pt", 0, 0.0
    if state.exists():
        saved = torch.load(state, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step, seconds = saved["step"], saved["seconds"]
    started, total, counted = time.monotonic() - seconds, torch.zeros((), device=device), 0
    acceptance = _acceptance(learner, tested)
    chosen = (_chosen(lessons, options.batch, number) for number in range(step, options.steps))
    with closing(Shelf().batches(chosen)) as batches:
        for batch in batches:
            for group in optimizer.param_groups:
                group["lr"] = _rate(step, options.steps)
            torch.manual_seed(_SEED + step)  # so that resumed training sees what uninterrupted training does
            loss = learner.loss(batch)
            if loss.requires_grad:  # else the texts of these windows are too short to guess anything
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(model.parameters(), _LARGEST_GRADIENT)
                optimizer.step()
            total, counted, step = total + loss.detach(), counted + 1, step + 1
            if step % options.evaluate_every == 0 or step == options.steps:
                acceptance = _acceptance(learner, tested)
                seconds = time.monotonic() - started
                point = LearningPoint(step, round(seconds, 1), float(total) / counted, acceptance)
                total, counted = torch.zeros((), device=device), 0
                _save(state, model, optimizer, step, seconds)
                with (work / "log.jsonl").open("a") as log:
                    log.write(json.dumps(asdict(point)) + "\n")
                progress(point)
    return Draft(replace(draft.info, acceptance=round(acceptance, 4)), model.arrays())


def _chosen(lessons: Sequence[Path], most: int, step: int) -> list[Path]:
    """The lessons of a step."""
    return random.Random(_SEED * 1_000_003 + step).sample(lessons, min(most, len(lessons)))


def _save(
    path: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, seconds: float
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


@torch.inference_mode()
def _acceptance(learner: Learner, lessons: Sequence[Lesson]) -> float:
    """The share of the text's tokens that the draft guesses, each after the right ones."""
    learner.model.eval()
    right = asked = 0
    for first in range(0, len(lessons), _TESTED_AT_ONCE):
        of_batch = learner.count(lessons[first : first + _TESTED_AT_ONCE])
        right, asked = right + of_batch[0], asked + of_batch[1]
    learner.model.train()
    return right / max(1, asked)
