"""Pruning as a step of the build: what `quant.pruning` needs and cannot have from the checkpoint alone."""

from collections.abc import Iterable

from edgewhisper.errors import ArtifactError, CheckpointError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.quant.pruning.choice import VocabularyChoice
from edgewhisper.quant.pruning.vocabulary import VocabularyReport, prune_vocabulary
from edgewhisper.runtime.bpe import parse_encoder


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
