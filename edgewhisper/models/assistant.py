"""Assistants: smaller Whisper models, with the vocabulary of a main model, that propose tokens for it.

One with the encoder of its main model (as the distilled large models and the students of `edgewhisper distill` have it) is a draft like
those of `models.draft`, with projections, embedding and positions of its own where they differ. Any other one runs its own encoder.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgewhisper.errors import CheckpointError

from .checkpoint import Array, Checkpoint
from .draft import Draft, DraftInfo
from .generation import ENGLISH_ONLY_VOCABULARY
from .reader import read_checkpoint
from .student import read_student_info

# Of English-only vocabularies the tokens of text that an assistant scores: ids go by frequency, and the head is two thirds of tiny.en's step.
# No such part serves all languages of a multilingual vocabulary.
ENGLISH_SHORTLIST = 8192
_PROJECTIONS = ("k_proj.weight", "v_proj.weight", "v_proj.bias")


def read_assistant(choice: str, main: Checkpoint) -> Checkpoint:
    """Read a checkpoint that shall propose tokens for a main model.

    Args:
        choice: what `read_checkpoint` reads.
        main: the main model.

    Raises:
        CheckpointError: it cannot be read, is the main model itself or a student of another one, or has another vocabulary, other mel bins
            or another window.
        MissingDependencyError: a package that reading it needs.
    """
    assistant = read_checkpoint(choice)
    student = read_student_info(Path(choice)) if Path(choice).is_dir() else None
    if student is not None and student.main_sha256 != main.model.checkpoint_sha256:
        raise CheckpointError(
            f"draft '{choice}': is a student of another model than {main.model.name} ({student.main}); "
            "make one for it with 'edgewhisper distill'"
        )
    if reason := _why_unfit(assistant, main):
        raise CheckpointError(f"draft '{choice}': {reason}")
    return assistant


def _why_unfit(assistant: Checkpoint, main: Checkpoint) -> str | None:
    name, own, its = main.model.name, main.dimensions, assistant.dimensions
    if assistant.model.checkpoint_sha256 == main.model.checkpoint_sha256:
        return f"is {name} itself, so it cannot be faster; take a smaller model"
    if assistant.vocabulary.tokens != main.vocabulary.tokens:
        sizes = f"{its.vocab_size} tokens, {name} has {own.vocab_size}"
        if its.vocab_size == own.vocab_size:
            sizes = f"{its.vocab_size} tokens as {name} has, but others"
        english = ENGLISH_ONLY_VOCABULARY in (its.vocab_size, own.vocab_size)
        hint = (
            "English-only and multilingual models do not go together" if english else "take one with the same"
        )
        return f"its vocabulary is another ({sizes}); {hint}"
    if its.n_mels != own.n_mels:
        return f"it reads {its.n_mels} mel bins, {name} {own.n_mels}; take a model with as many"
    if its.max_source_positions != own.max_source_positions:
        return (
            f"its window has {2 * its.max_source_positions} frames, that of {name} {2 * own.max_source_positions}; "
            "take a model with the same"
        )
    return None


def scored_tokens(assistant: Checkpoint) -> tuple[int, ...]:
    """The ids that an assistant scores, ascending: all, or the most frequent ones of an English-only vocabulary."""
    ids, size = assistant.token_ids, assistant.dimensions.vocab_size
    if size != ENGLISH_ONLY_VOCABULARY:
        return tuple(range(size))
    return (
        *range(min(ENGLISH_SHORTLIST, ids.end_of_text)),
        ids.end_of_text,
        *range(ids.timestamp_begin, size),
    )


def shares_encoder(assistant: Checkpoint, main: Checkpoint) -> bool:
    """Whether both have one encoder, to the last weight, and decoders of one width."""
    own, its = main.dimensions, assistant.dimensions
    if replace(its, decoder_layers=own.decoder_layers, decoder_ffn=own.decoder_ffn) != own:
        return False
    names = [name for name in main.tensors if name.startswith("encoder.")]
    return all(np.array_equal(assistant.tensors[name], main.tensors[name]) for name in names)


def as_draft(assistant: Checkpoint, main: Checkpoint) -> Draft:
    """An assistant that shares the encoder, as a draft of kind "shared".

    Where its projections to keys and values of cross-attention are those of a layer of the main decoder, it reads that layer's. Others
    are counted on behind the main decoder's, and the encoder's graph gives their keys and values too.
    """
    layers, count = assistant.dimensions.decoder_layers, main.dimensions.decoder_layers
    cross: list[int] = []
    left_out = {
        f"decoder.{name}"
        for name in ("embed_tokens.weight", "embed_positions.weight")
        if np.array_equal(assistant.tensors[f"decoder.{name}"], main.tensors[f"decoder.{name}"])
    }
    for layer in range(layers):
        names = [f"decoder.layers.{layer}.encoder_attn.{name}" for name in _PROJECTIONS]
        same = next((i for i in range(count) if _are_same(assistant, names, main, i)), None)
        if same is None:
            same = count + sum(number >= count for number in cross)
        else:
            left_out |= set(names)
        cross.append(same)
    tensors = _Decoder(assistant.tensors, frozenset(left_out))
    info = DraftInfo("shared", layers, tuple(cross), scored_tokens(assistant), main.model.checkpoint_sha256)
    return Draft(info, tensors)


def _are_same(assistant: Checkpoint, names: list[str], main: Checkpoint, layer: int) -> bool:
    for name, projection in zip(names, _PROJECTIONS, strict=True):
        if not np.array_equal(
            assistant.tensors[name], main.tensors[f"decoder.layers.{layer}.encoder_attn.{projection}"]
        ):
            return False
    return True


class _Decoder(Mapping[str, Array]):
    """The tensors of a checkpoint's decoder, named without "decoder."."""

    def __init__(self, tensors: Mapping[str, Array], left_out: frozenset[str]) -> None:
        self._tensors = tensors
        self._names = [
            name.removeprefix("decoder.")
            for name in tensors
            if name.startswith("decoder.") and name not in left_out
        ]

    def __getitem__(self, name: str) -> Array:
        if name not in self._names:
            raise KeyError(name)
        return self._tensors[f"decoder.{name}"]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
