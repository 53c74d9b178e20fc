"""Pruning of attention heads: each layer keeps those whose contributions matter."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import ModelDimensions
from edgewhisper.models.checkpoint import Checkpoint

from .importance import Moments, most_important
from .report import PruningReport, report
from .tensors import Derivation, DerivedTensors, constant, take_rows

_PROJECTIONS = ("q_proj.weight", "q_proj.bias", "k_proj.weight", "v_proj.weight", "v_proj.bias")


def attention_outputs(dimensions: ModelDimensions) -> list[str]:
    """The output projections of all attentions, whose inputs have to be observed."""
    encoder = [f"encoder.layers.{i}.self_attn.out_proj" for i in range(dimensions.encoder_layers)]
    return encoder + [
        f"decoder.layers.{i}.{kind}.out_proj"
        for i in range(dimensions.decoder_layers)
        for kind in ("self_attn", "encoder_attn")
    ]


def prune_heads(
    checkpoint: Checkpoint, moments: Mapping[str, Moments], ratio: float
) -> tuple[Checkpoint, PruningReport]:
    """Remove a share of all attention heads; every attention keeps at least one.

    A head's importance is the root mean square of its contribution through the output projection, relative to that of all
    heads of its layer. What stays takes over from what goes, see `Moments.compensate`. The width of a head stays
    `d_model / heads` of `checkpoint.dimensions`; how many a layer has follows from the shapes of its tensors.

    Args:
        checkpoint: the model.
        moments: of all `attention_outputs`.
        ratio: share of the heads to remove, from 0 to less than 1.
    """
    widths = {
        "encoder": checkpoint.dimensions.d_model // checkpoint.dimensions.encoder_heads,
        "decoder": checkpoint.dimensions.d_model // checkpoint.dimensions.decoder_heads,
    }
    outputs = attention_outputs(checkpoint.dimensions)
    scores = {
        name: _importance(checkpoint.tensors[f"{name}.weight"], moments[name], widths[name.partition(".")[0]])
        for name in outputs
    }
    kept = most_important(scores, ratio)
    derivations: dict[str, Derivation] = {}
    for name in outputs:
        if len(kept[name]) == len(scores[name]):
            continue
        channels = _channels(kept[name], widths[name.partition(".")[0]])
        attention = name.removesuffix(".out_proj")
        derivations |= {f"{attention}.{projection}": take_rows(channels) for projection in _PROJECTIONS}
        weight, bias = moments[name].compensate(
            np.asarray(checkpoint.tensors[f"{name}.weight"], np.float32),
            np.asarray(checkpoint.tensors[f"{name}.bias"], np.float32),
            channels,
        )
        derivations |= {f"{name}.weight": constant(weight), f"{name}.bias": constant(bias)}
    pruned = replace(
        checkpoint,
        token_ids=replace(checkpoint.token_ids, alignment_heads=_renumber(checkpoint, kept)),
        tensors=DerivedTensors(checkpoint.tensors, derivations),
    )
    return pruned, report(checkpoint, pruned, ratio, scores, kept, derivations)


def _importance(weight: NDArray[np.generic], moments: Moments, width: int) -> NDArray[np.float64]:
    """Each head's share of its layer's contributions."""
    matrix = np.asarray(weight, np.float32)
    count = matrix.shape[1] // width
    heads = (_channels(np.array([head]), width) for head in range(count))
    scores = np.array([moments.contribution(matrix, channels) for channels in heads], np.float64)
    shares: NDArray[np.float64] = scores / scores.sum()
    return shares


def _channels(heads: NDArray[np.intp], width: int) -> NDArray[np.intp]:
    """The channels of some heads."""
    channels: NDArray[np.intp] = (heads[:, None] * width + np.arange(width)).ravel()
    return channels


def _renumber(checkpoint: Checkpoint, kept: Mapping[str, NDArray[np.intp]]) -> tuple[tuple[int, int], ...]:
    """The alignment heads that stay, by their new numbers."""
    found = []
    for layer, head in checkpoint.token_ids.alignment_heads:
        heads = kept[f"decoder.layers.{layer}.encoder_attn.out_proj"].tolist()
        if head in heads:
            found.append((layer, heads.index(head)))
    return tuple(found)
