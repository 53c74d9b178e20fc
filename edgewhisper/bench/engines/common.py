"""What every engine offers to be measured."""

from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from edgewhisper.runtime.contention import Timing


class Engine(Protocol):
    """One way to run a Whisper checkpoint."""

    packages: ClassVar[tuple[str, ...]]  # whose versions belong to a figure

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        """Write what the engine loads into `work`, beside `work/checkpoint`, unless it is there; in another process than
        the one that measures."""
        ...

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        """Load what `convert` wrote."""
        ...

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        """Encode a window [n_mels, frames]; the result is kept for `decode`."""
        ...

    def first_step(self) -> Timing | None:
        """The first decoder step, with the cross-attention keys and values of the window; None where `encode` has
        computed them."""
        ...

    def decode(self, tokens: int) -> Timing:
        """Decode that many tokens after the prompt."""
        ...

    def step(self, tokens: int) -> Timing | None:
        """One decoder step of several tokens, late in the text; None where the engine has no such thing."""
        ...


def check_length(found: int, wanted: int) -> None:
    """An engine that stopped early would look fast; prompt and end of text may be counted or not."""
    if not wanted <= found <= wanted + 5:
        raise RuntimeError(f"decoded {found} tokens instead of {wanted}")
