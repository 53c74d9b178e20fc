"""What every engine offers to be measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from edgewhisper.runtime.contention import Timing, timed

_ON_GPU = "-cuda"


class Engine(Protocol):
    """One way to run a Whisper checkpoint.

    A precision is as the engine calls it, with "-cuda" behind it on an NVIDIA GPU.
    """

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


def split_device(precision: str) -> tuple[str, str]:
    """A precision as the engine calls it, and where it is computed: "cpu" or "cuda"."""
    own = precision.removesuffix(_ON_GPU)
    return own, "cpu" if own == precision else "cuda"


def check_pytorch(device: str) -> None:
    """Raise RuntimeError, in one line, where PyTorch sees no GPU and one is wanted."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"PyTorch {torch.__version__} sees no NVIDIA GPU here")


@contextmanager
def timed_by_pytorch(device: str) -> Iterator[Timing]:
    """`timed`, of all that PyTorch has a GPU do: its calls return before that is done."""
    import torch

    if device == "cuda":
        torch.cuda.synchronize()
    with timed() as timing:
        yield timing
        if device == "cuda":
            torch.cuda.synchronize()


def check_length(found: int, wanted: int) -> None:
    """An engine that stopped early would look fast; prompt and end of text may be counted or not."""
    if not wanted <= found <= wanted + 5:
        raise RuntimeError(f"decoded {found} tokens instead of {wanted}")
