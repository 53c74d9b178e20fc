"""What decoding needs of its surroundings, so that it can be tested without a graph."""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
CrossKV: TypeAlias = Any  # cross-attention keys and values of one window; only the decoder looks inside


class Encoder(Protocol):
    """Turns a window's log-mel frames into what the decoder attends to."""

    def run(self, log_mel: Floats) -> CrossKV:
        """Encode one window, `log_mel` [n_mels, frames]. The result stays valid while it is referenced."""
        ...


class Decoder(Protocol):
    """A decoder with a cache of the tokens it has seen."""

    @property
    def length(self) -> int:
        """Tokens in the cache."""
        ...

    @property
    def max_length(self) -> int:
        """Tokens that the cache can hold."""
        ...

    @property
    def hidden(self) -> Floats | None:
        """What the head read in the last run, a row for each row of logits; None where the graph does not give it."""
        ...

    def reset(self, cross: CrossKV) -> None:
        """Begin a window: attend to `cross`, empty the cache."""
        ...

    def run(self, tokens: Sequence[int], logits_from: int) -> Floats:
        """Append `tokens` to the cache; the logits after tokens[logits_from:], [len(tokens) - logits_from, vocab].

        The array is valid, and free to be written into, until the next call.
        """
        ...

    def release(self) -> None:
        """Let go of `cross`; `reset` comes before the next `run`."""
        ...

    def rollback(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        ...


class FeatureSource(Protocol):
    """The log-mel frames of one recording, read forwards once."""

    @property
    def is_single_window(self) -> bool:
        """Whether the whole recording fits one window."""
        ...

    @property
    def duration(self) -> float:
        """Seconds of audio seen so far."""
        ...

    @property
    def total_frames(self) -> int | None:
        """Frames of the whole recording; None while unknown."""
        ...

    def window(self, start_frame: int, n_frames: int) -> tuple[Floats, int]:
        """Frames start_frame .. start_frame + n_frames as [n_mels, n_frames], and how many of them are not padding.

        `start_frame` never decreases.
        """
        ...

    def ended(self, frame: int) -> bool:
        """Whether the recording has no frame at `frame` or after it."""
        ...
