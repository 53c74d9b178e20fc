"""Pruning of feed-forward units: each layer keeps those whose contributions matter."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgewhisper.artifact import ModelDimensions
from edgewhisper.models.checkpoint import Checkpoint

from .importance import Moments, most_important
from .report import PruningReport, report
from .tensors import Derivation, DerivedTensors, constant, take_rows

# Layers keep a multiple of it: a whole number of SIMD registers, and of the blocks of INT4 weights.
UNIT_STEP = 32


def feed_forward_outputs(dimensions: ModelDimensions) -> list[str]:
    """The second layers of all feed-forward networks, whose inputs have to be observed."""
    counts = (("encoder", dimensions.encoder_layers), ("decoder", dimensions.decoder_layers))
    return [f"{side}.layers.{i}.fc2" for side, layers in counts for i in range(layers)]


def prune_feed_forward(
    checkpoint: Checkpoint, moments: Mapping[str, Moments], ratio: float
) -> tuple[Checkpoint, PruningReport]:
    """Remove about a share of all feed-forward units; every layer keeps a multiple of `UNIT_STEP`.

    A unit's importance is its root mean square activation times the norm of its outgoing weights: what it adds to the
    residual stream. What stays takes over from what goes, see `Moments.compensate`. How many units a layer has follows
    from the shapes of its tensors.

    Args:
        checkpoint: the model.
        moments: of all `feed_forward_outputs`.
        ratio: share of the units to remove, from 0 to less than 1.
    """
    outputs = feed_forward_outputs(checkpoint.dimensions)
    scores = {}
    for name in outputs:
        scores[name] = moments[name].contributions(
            np.asarray(checkpoint.tensors[f"{name}.weight"], np.float32)
        )
    kept = most_important(scores, ratio, UNIT_STEP)
    derivations: dict[str, Derivation] = {}
    for name in outputs:
        units = kept[name]
        if len(units) == len(scores[name]):
            continue
        first = f"{name.removesuffix('.fc2')}.fc1"
        weight, bias = moments[name].compensate(
            np.asarray(checkpoint.tensors[f"{name}.weight"], np.float32),
            np.asarray(checkpoint.tensors[f"{name}.bias"], np.float32),
            units,
        )
        derivations |= {
            f"{first}.weight": take_rows(units),
            f"{first}.bias": take_rows(units),
            f"{name}.weight": constant(weight),
            f"{name}.bias": constant(bias),
        }
    pruned = replace(checkpoint, tensors=DerivedTensors(checkpoint.tensors, derivations))
    return pruned, report(checkpoint, pruned, ratio, scores, kept, derivations)
