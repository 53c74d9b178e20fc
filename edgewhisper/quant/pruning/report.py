"""What pruning of heads or units removed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewhisper.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class PruningReport:
    """Numbers of heads or units.

    Attributes:
        ratio: the share that was to be removed.
        before, after: of all layers together.
        layers: layer -> how many it keeps.
        bytes_saved: of weights in fp32.
    """

    ratio: float
    before: int
    after: int
    layers: dict[str, int]
    bytes_saved: int


def report(
    before: Checkpoint,
    after: Checkpoint,
    ratio: float,
    scores: Mapping[str, NDArray[np.float64]],
    kept: Mapping[str, NDArray[np.intp]],
    changed: Collection[str],
) -> PruningReport:
    """Count what was removed: `scores` has an entry per part, `kept` the parts that stay, `changed` names tensors."""
    saved = sum(before.tensors[name].size - after.tensors[name].size for name in changed)
    return PruningReport(
        ratio=ratio,
        before=sum(map(len, scores.values())),
        after=sum(map(len, kept.values())),
        layers={name.rpartition(".")[0]: len(parts) for name, parts in kept.items()},
        bytes_saved=saved * np.dtype(np.float32).itemsize,
    )
