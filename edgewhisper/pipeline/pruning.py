"""Pruning as a step of the build: quant.pruning with the tokenizer and the calibration data that it needs."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgewhisper.errors import ArtifactError, CheckpointError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.quant.pruning.choice import VocabularyChoice
from edgewhisper.quant.pruning.feed_forward import feed_forward_outputs, prune_feed_forward
from edgewhisper.quant.pruning.heads import attention_outputs, prune_heads
from edgewhisper.quant.pruning.importance import observe_moments
from edgewhisper.quant.pruning.report import PruningReport
from edgewhisper.quant.pruning.vocabulary import VocabularyReport, prune_vocabulary
from edgewhisper.runtime.bpe import parse_encoder

from .calibration import CalibrationSet, collect
from .feeds import decoder_feeds, encoder_feeds
from .source import Source, export_source
from .taps import TappedGraph

# Least squares over thousands of units need more tokens than INT8's ranges; see docs/pruning.md.
CALIBRATION_ROUNDS = 4
# Of the windows, what the cost is measured on.
COMPARED_EVERY = 4


@dataclass(frozen=True)
class PruningCost:
    """How far the pruned model's logits are from the whole one's, in fp32, over a part of the calibration data.

    Attributes:
        logits_error: ||y - y_whole|| / ||y_whole||.
        same_tokens: share of the positions at which the likeliest token is the same.
        positions: how many were compared.
    """

    logits_error: float
    same_tokens: float
    positions: int


@dataclass(frozen=True)
class StructureReport:
    """What was removed of heads and feed-forward units; None where nothing was to be.

    Attributes:
        heads, feed_forward: numbers of parts.
        calibration_sha256: of the recordings that decided.
        cost: of both together; None in files of earlier releases.
    """

    heads: PruningReport | None
    feed_forward: PruningReport | None
    calibration_sha256: str | None = None
    cost: PruningCost | None = None


def prune_checkpoint_vocabulary(
    checkpoint: Checkpoint, choice: VocabularyChoice, references: Iterable[str] = ()
) -> tuple[Checkpoint, VocabularyReport]:
    """Keep the tokens that can occur in text of the chosen kind.

    Args:
        checkpoint: with its whole vocabulary.
        choice: what to keep; from `parse_vocabulary_choice`.
        references: transcripts that must stay possible, e.g. of the evaluation set.

    Raises:
        UsageError: a language that the model lacks, or a reference that needs a token which would be dropped.
        CheckpointError: the checkpoint's tokenizer cannot be used.
    """
    try:
        encoder = parse_encoder(
            checkpoint.vocabulary.tokenizer_json, f"{checkpoint.model.name}: its tokenizer"
        )
    except ArtifactError as error:
        raise CheckpointError(f"{error}".replace("build the artifact", "download the checkpoint")) from None
    return prune_vocabulary(checkpoint, choice, references, encoder.encode)


def prune_checkpoint_structure(
    checkpoint: Checkpoint,
    heads: float,
    feed_forward: float,
    recordings: Path | None,
    scratch: Path,
    progress: Callable[[float], None] = lambda done: None,
) -> tuple[Checkpoint, StructureReport]:
    """Remove shares of the attention heads and the feed-forward units, the least important over calibration data first.

    Args:
        checkpoint: the model.
        heads: share of the heads to remove, from 0 to less than 1.
        feed_forward: share of the feed-forward units to remove, likewise.
        recordings: a folder of calibration recordings; None: the bundled ones.
        scratch: an empty folder; fp32 graphs are left there.
        progress: told how much is done, from 0 to 1.

    Raises:
        UsageError: the folder is missing, cannot be read, or holds no recording.
        AudioError: a recording cannot be read, or all are silent.
        MissingDependencyError: a package that graphs or recordings need.
    """
    whole, smaller = scratch / "whole", scratch / "smaller"
    whole.mkdir()
    smaller.mkdir()
    source = export_source(checkpoint, whole, "fused")
    calibration = collect(source, recordings, lambda done: progress(done / 2), rounds=CALIBRATION_ROUNDS)
    dimensions = checkpoint.dimensions
    layers = attention_outputs(dimensions) if heads else []
    layers += feed_forward_outputs(dimensions) if feed_forward else []
    windows = len(calibration.windows)
    moments = observe_moments(
        whole / source.graphs["encoder"].file,
        layers,
        encoder_feeds(calibration),
        lambda done: progress(0.5 + 0.25 * done / windows),
    )
    moments |= observe_moments(
        whole / source.graphs["decoder"].file,
        layers,
        decoder_feeds(whole, source.manifest(), calibration),
        lambda done: progress(0.75 + 0.2 * done / windows),
    )
    of_heads = of_units = None
    if heads:
        checkpoint, of_heads = prune_heads(checkpoint, moments, heads)
    if feed_forward:
        checkpoint, of_units = prune_feed_forward(checkpoint, moments, feed_forward)
    cost = _cost(source, export_source(checkpoint, smaller, "fused"), calibration)
    progress(1.0)
    return checkpoint, StructureReport(of_heads, of_units, calibration.sha256, cost)


def _cost(whole: Source, pruned: Source, calibration: CalibrationSet) -> PruningCost:
    part = CalibrationSet(
        calibration.windows[::COMPARED_EVERY], calibration.sequences[::COMPARED_EVERY], calibration.sha256
    )
    difference = reference = 0.0
    same = positions = 0
    for y, expected in zip(_logits(pruned, part), _logits(whole, part), strict=True):
        difference += float(np.square(y - expected).sum())
        reference += float(np.square(expected).sum())
        same += int((y.argmax(-1) == expected.argmax(-1)).sum())
        positions += len(y)
    return PruningCost(math.sqrt(difference / reference), same / positions, positions)


def _logits(source: Source, calibration: CalibrationSet) -> Iterator[NDArray[np.float32]]:
    """Of every position of the calibration text, [tokens, vocab] a window."""
    graph = TappedGraph(source.folder / source.graphs["decoder"].file, [], repack=False)
    for feed in decoder_feeds(source.folder, source.manifest(), calibration):
        yield graph.run(feed, ["logits"])[0][0]
