"""What a main model says of recordings, cached on disk: what its drafts learn from.

One file a window: keys and values of the cross-attention that the draft reads, the tokens that the model decodes greedily, and its
likeliest next tokens at every one of them. A file is written whole or not at all, so that a gathering that was killed goes on where it
stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LIKELIEST = 32
"""Next tokens whose probabilities are kept; the others share what is left."""


@dataclass(frozen=True)
class Lesson:
    """One window.

    Attributes:
        cross: for each layer of the draft, keys and values [heads, positions, head_dim] in fp16.
        tokens: prompt and text, with end of text if it was reached [S].
        first: the number of the first token of the text.
        likeliest: ids of the likeliest next tokens [S, LIKELIEST] after each token.
        logprobs: their natural log-probabilities, before any rule [S, LIKELIEST].
        hidden: what the model's head read after each token [S, d], where heads learn from it.
        encoded: what the encoder made of the window [positions, d], where a student learns from it; `cross` is empty then.
    """

    cross: tuple[tuple[NDArray[np.float16], NDArray[np.float16]], ...]
    tokens: NDArray[np.int32]
    first: int
    likeliest: NDArray[np.int32]
    logprobs: NDArray[np.float32]
    hidden: NDArray[np.float16] | None = None
    encoded: NDArray[np.float16] | None = None

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        arrays = [self.tokens, self.likeliest, self.logprobs, self.hidden, self.encoded, *chain(*self.cross)]
        return sum(array.nbytes for array in arrays if array is not None)


def likeliest_tokens(logits: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Ids [S, LIKELIEST] and log-probabilities of the likeliest tokens of each row of logits [S, vocab]."""
    count = min(LIKELIEST, logits.shape[1])
    ids = np.argpartition(logits, -count, axis=1)[:, -count:]
    top = logits.max(axis=1, keepdims=True)
    total = np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) + top
    return ids.astype(np.int32), np.take_along_axis(logits, ids, axis=1) - total


def write_lesson(lesson: Lesson, path: Path) -> None:
    """Write a lesson; `path` holds it whole or does not exist."""
    arrays: dict[str, Any] = {f"key_{i}": pair[0] for i, pair in enumerate(lesson.cross)}
    arrays |= {f"value_{i}": pair[1] for i, pair in enumerate(lesson.cross)}
    if lesson.hidden is not None:
        arrays["hidden"] = lesson.hidden
    if lesson.encoded is not None:
        arrays["encoded"] = lesson.encoded
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(
            file,
            tokens=lesson.tokens,
            first=np.asarray(lesson.first),
            likeliest=lesson.likeliest,
            logprobs=lesson.logprobs,
            **arrays,
        )
    partial.replace(path)


def read_lesson(path: Path) -> Lesson:
    """Read what `write_lesson` wrote."""
    with np.load(path) as arrays:
        layers = sum(name.startswith("key_") for name in arrays.files)
        return Lesson(
            tuple((arrays[f"key_{i}"], arrays[f"value_{i}"]) for i in range(layers)),
            arrays["tokens"],
            int(arrays["first"]),
            arrays["likeliest"],
            arrays["logprobs"],
            arrays["hidden"] if "hidden" in arrays.files else None,
            arrays["encoded"] if "encoded" in arrays.files else None,
        )


def frequent_tokens(lessons: Sequence[Path], always: Sequence[int], most: int) -> tuple[int, ...]:
    """The tokens that the texts of lessons have most often, and those in `always`; ascending."""
    counts: dict[int, int] = {}
    for path in lessons:
        with np.load(path) as arrays:
            for token in arrays["tokens"][int(arrays["first"]) :].tolist():
                counts[token] = counts.get(token, 0) + 1
    frequent = sorted(counts, key=lambda token: (-counts[token], token))[:most]
    return tuple(sorted({*frequent, *always}))
