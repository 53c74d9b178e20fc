"""Which draft an artifact gets."""

import re
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.errors import CheckpointError, UsageError
from edgewhisper.models.assistant import as_draft, read_assistant, shares_encoder
from edgewhisper.models.cards import DEMO, DEMO_FOLDER
from edgewhisper.models.checkpoint import Checkpoint, tensors_sha256
from edgewhisper.models.draft import DESCRIPTION, Draft, Kind, initial_draft, read_draft
from edgewhisper.runtime.speculation.phrases import Phrases

from .phrases import NGRAM, read_phrases

BUNDLED: dict[Kind, Path] = {"shared": DEMO_FOLDER / "draft", "heads": DEMO_FOLDER / "heads"}
_OF_MODEL = re.compile(r"(shared):([0-9]{1,3})|heads(?::1)?")
_FORMS = "give heads, shared:1, shared:2, ngram, ngram:FILE, a folder that 'edgewhisper distill' wrote, or a smaller Whisper model"


@dataclass(frozen=True)
class DraftChoice:
    """What proposes tokens, one of three, and how the manifest names it.

    Attributes:
        draft: reads what the main model's encoder gives.
        assistant: a model that has an encoder of its own.
        phrases: are looked up.
    """

    record: str
    draft: Draft | None = None
    assistant: Checkpoint | None = None
    phrases: Phrases | None = None


def choose_draft(choice: str, checkpoint: Checkpoint) -> DraftChoice:
    """The draft that `--draft` asks for.

    Args:
        choice: "shared:N" for the draft of N layers that is bundled with the model, "heads" for its heads, "ngram" with or without a file,
            a folder that `edgewhisper distill` wrote, or a Whisper model. For random weights the first two are untrained, which serves
            for timing.
        checkpoint: the main model.

    Raises:
        UsageError: none of these forms, no such draft is bundled, or phrases that cannot be read.
        CheckpointError: a damaged draft or model, one of another main model, or one that does not go with it.
        MissingDependencyError: a package that reading a model needs.
    """
    phrases = read_phrases(choice, checkpoint.vocabulary)
    if phrases is not None:
        return DraftChoice(f"{NGRAM} ({len(phrases.tokens)} tokens)", phrases=phrases)
    match = _OF_MODEL.fullmatch(choice)
    if match is not None:
        draft = _own_draft(choice, "heads" if match[1] is None else "shared", int(match[2] or 1), checkpoint)
    elif (Path(choice) / DESCRIPTION).exists():
        draft = read_draft(Path(choice), checkpoint)
    else:
        return _choose_assistant(choice, checkpoint)
    return DraftChoice(
        _record(f"{draft.info.kind}:{draft.info.layers}", tensors_sha256(draft.tensors)), draft
    )


def _own_draft(choice: str, kind: Kind, layers: int, checkpoint: Checkpoint) -> Draft:
    if checkpoint.model.random_weights:
        return initial_draft(checkpoint, kind, layers)
    if checkpoint.model.name == DEMO and (BUNDLED[kind] / DESCRIPTION).exists():
        draft = read_draft(BUNDLED[kind], checkpoint)
        if draft.info.layers == layers:
            return draft
    raise UsageError(
        f"draft '{choice}': none is bundled with {checkpoint.model.name}; train one with 'edgewhisper distill' and give its folder"
    )


def _choose_assistant(choice: str, checkpoint: Checkpoint) -> DraftChoice:
    folder = Path(choice)
    if folder.is_dir() and not (folder / "config.json").exists():
        raise CheckpointError(
            f"{choice}: holds neither a draft (no {DESCRIPTION}) nor a model (no config.json); make a draft with 'edgewhisper distill'"
        )
    try:
        assistant = read_assistant(choice, checkpoint)
    except CheckpointError as error:
        if folder.exists() or "/" in choice:
            raise
        raise UsageError(f"draft '{choice}': {_FORMS} ({error})") from None
    record = _record(assistant.model.name, assistant.model.checkpoint_sha256)
    if shares_encoder(assistant, checkpoint):
        return DraftChoice(record, as_draft(assistant, checkpoint))
    return DraftChoice(record, assistant=assistant)


def _record(name: str, sha256: str) -> str:
    return f"{name} (sha256 {sha256[:16]})"
