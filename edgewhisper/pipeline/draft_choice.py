"""Which draft an artifact gets."""

import re
from pathlib import Path

from edgewhisper.errors import UsageError
from edgewhisper.models.cards import DEMO, DEMO_FOLDER
from edgewhisper.models.checkpoint import Checkpoint, tensors_sha256
from edgewhisper.models.draft import DESCRIPTION, Draft, Kind, initial_draft, read_draft

BUNDLED: dict[Kind, Path] = {"shared": DEMO_FOLDER / "draft", "heads": DEMO_FOLDER / "heads"}


def choose_draft(choice: str, checkpoint: Checkpoint) -> Draft:
    """The draft that `--draft` asks for.

    Args:
        choice: "shared:N" for the draft of N layers that is bundled with the model, "heads" for its heads, or a folder that
            `edgewhisper distill` wrote. For random weights the first two are untrained, which serves for timing.
        checkpoint: the main model.

    Raises:
        UsageError: neither form, or no such draft is bundled.
        CheckpointError: a damaged draft, or one of another model.
    """
    match = re.fullmatch(r"(shared):([0-9]{1,3})|heads(?::1)?", choice)
    if match is None:
        if not Path(choice).is_dir():
            raise UsageError(
                f"draft '{choice}': give heads, shared:1, shared:2, ngram, ngram:FILE, or a folder that 'edgewhisper distill' wrote"
            )
        return read_draft(Path(choice), checkpoint)
    kind: Kind = "heads" if match[1] is None else "shared"
    layers = int(match[2] or 1)
    if checkpoint.model.random_weights:
        return initial_draft(checkpoint, kind, layers)
    if checkpoint.model.name == DEMO and (BUNDLED[kind] / DESCRIPTION).exists():
        draft = read_draft(BUNDLED[kind], checkpoint)
        if draft.info.layers == layers:
            return draft
    raise UsageError(
        f"draft '{choice}': none is bundled with {checkpoint.model.name}; train one with 'edgewhisper distill' and give its folder"
    )


def draft_record(draft: Draft) -> str:
    """What the manifest states of a draft."""
    return f"{draft.info.kind}:{draft.info.layers} (sha256 {tensors_sha256(draft.tensors)[:16]})"
