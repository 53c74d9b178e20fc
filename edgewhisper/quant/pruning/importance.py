"""How much a part of a layer matters, and what the rest can take over from it.

Heads and feed-forward units are inputs of a linear layer (`out_proj`, `fc2`): without a part, its inputs are gone. With the
second moments of all inputs over calibration data, what is lost can be computed instead of guessed:

- importance: the root mean square of the part's contribution to the layer's output;
- compensation: the weights of the inputs that stay, which come closest to the old output over the calibration data. These
  are linear least squares, as in optimal brain surgeon (Hassibi and Stork, 1992) and its successors for whole columns.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.errors import BuildError

from ..calibration import tapped_session
from ..linear import linear_layers

Floats = NDArray[np.float64]

# Of the mean power of the inputs: how strongly the old weights hold where the data say little. GPTQ
# (https://arxiv.org/abs/2210.17323) takes 0.01; the decoder reads only some thousand tokens here, and the bundled model
# loses less accuracy at 0.1.
DAMPING = 0.1


@dataclass(frozen=True)
class Moments:
    """What a linear layer reads, over calibration data.

    Attributes:
        matrix: mean of x x^T, x being the inputs and a 1 for the bias, [d_in + 1, d_in + 1].
    """

    matrix: Floats

    def contribution(self, weight: NDArray[np.floating], inputs: NDArray[np.intp]) -> float:
        """The root mean square, over the data, of the norm of `weight[:, inputs] x[inputs]`; weight [d_out, d_in]."""
        part = np.asarray(weight[:, inputs], np.float64)
        return float(
            np.sqrt(np.einsum("oi,ij,oj->", part, self.matrix[np.ix_(inputs, inputs)], part, optimize=True))
        )

    def contributions(self, weight: NDArray[np.floating]) -> Floats:
        """The same of every single input, [d_in]."""
        power = np.diag(self.matrix)[:-1]
        norms: Floats = np.linalg.norm(np.asarray(weight, np.float64), axis=0)
        return np.sqrt(power) * norms

    def compensate(
        self, weight: NDArray[np.floating], bias: NDArray[np.floating], kept: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights [d_out, len(kept)] and bias [d_out] that give nearly the output of `weight` [d_out, d_in] and `bias`."""
        whole = np.concatenate(
            [np.asarray(weight, np.float64), np.asarray(bias, np.float64)[:, None]], axis=1
        )
        inputs = np.append(kept, len(self.matrix) - 1)
        damping = DAMPING * np.diag(self.matrix)[:-1].mean() * np.eye(len(inputs))
        damping[-1, -1] = 0  # the bias is free
        left = self.matrix[np.ix_(inputs, inputs)] + damping
        right = whole @ self.matrix[:, inputs] + whole[:, inputs] @ damping
        solved = np.linalg.solve(left, right.T).T.astype(np.float32)
        return np.ascontiguousarray(solved[:, :-1]), np.ascontiguousarray(solved[:, -1])


def observe_moments(
    graph: Path,
    layers: Collection[str],
    feeds: Iterable[Mapping[str, NDArray[Any]]],
    progress: Callable[[int], None] = lambda _: None,
) -> dict[str, Moments]:
    """Run an fp32 graph and gather the second moments of what some of its linear layers read.

    Args:
        graph: encoder or decoder, as `export` writes it.
        layers: the checkpoint's names of linear layers, such as "encoder.layers.0.fc2"; those of other graphs are ignored.
        feeds: the graph's inputs, run by run.
        progress: called after each run with the number of runs done.

    Returns:
        Layer -> moments. A layer takes 8 d_in^2 bytes.

    Raises:
        BuildError: no feeds, or a graph that ONNX Runtime cannot load.
    """
    keys = {f"{layer}.weight.T": layer for layer in layers}
    read = {
        str(found.input.name): keys[found.name]
        for found in linear_layers(ir.load(graph))
        if found.name in keys
    }
    session = tapped_session(graph, list(read))
    sums: dict[str, Floats] = {}
    rows: dict[str, int] = {}
    for done, feed in enumerate(feeds, 1):
        for (_, layer), values in zip(read.items(), session.run(list(read), dict(feed)), strict=True):
            inputs = np.concatenate([values, np.ones((*values.shape[:-1], 1), np.float32)], axis=-1)
            flat = inputs.reshape(-1, inputs.shape[-1])
            sums[layer] = sums.get(layer, 0) + (flat.T @ flat).astype(np.float64)
            rows[layer] = rows.get(layer, 0) + len(flat)
        progress(done)
    if read and not sums:
        raise BuildError(
            f"{graph.name}: no calibration data; give recordings with speech, or leave pruning out"
        )
    return {layer: Moments(total / rows[layer]) for layer, total in sums.items()}


def most_important(scores: Mapping[str, Floats], ratio: float, step: int = 1) -> dict[str, NDArray[np.intp]]:
    """What to keep when a share of all parts is removed, the least important first, whichever layer they are in.

    Args:
        scores: layer -> importance of each of its parts.
        ratio: share of all parts to remove, from 0 to less than 1.
        step: a layer that loses parts keeps a multiple of this, and at least one.

    Returns:
        Layer -> the parts that stay, ascending.
    """
    ranked = sorted(
        (
            (float(value), layer, part)
            for layer, values in scores.items()
            for part, value in enumerate(values)
        ),
        key=lambda item: item[0],
    )
    removed = dict.fromkeys(scores, 0)
    for _, layer, _ in ranked[: round(ratio * len(ranked))]:
        removed[layer] += 1
    kept = {}
    for layer, values in scores.items():
        count = len(values) - removed[layer]
        if count < len(values):
            count = min(len(values), max(1, round(count / step)) * step)
        kept[layer] = np.sort(np.argsort(-values, kind="stable")[:count])
    return kept
