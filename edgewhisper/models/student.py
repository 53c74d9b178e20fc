"""Students: Whisper models of their own with fewer decoder layers, that learnt to say what their main model says.

A student keeps the main model's encoder, token embedding and positions; its decoder begins with some of the main decoder's layers.
(After Distil-Whisper, arXiv 2311.00430.) Its folder is transformers' format, with `student.json` beside.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgewhisper.artifact import parse_json
from edgewhisper.errors import ArtifactError, CheckpointError, UsageError

from .checkpoint import Array, Checkpoint, expected_shapes
from .draft import Draft, initial_draft
from .safetensors_file import write_safetensors
from .transformers_files import write_settings, write_tokenizer
from .transformers_folder import WEIGHTS

DESCRIPTION = "student.json"
FILES = frozenset(
    {
        DESCRIPTION, WEIGHTS, "config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "vocab.json",
        "merges.txt", "added_tokens.json", "tokenizer_config.json",
    }
)  # fmt: skip
Distilled = Literal["shared", "heads", "student"]


@dataclass(frozen=True)
class StudentInfo:
    """The contents of `student.json`.

    Attributes:
        main: the main model's name.
        main_sha256: of the main model's checkpoint.
        layers: the main decoder's layers that the student's come from.
        agreement: share of the main model's tokens that it says on held-out data, each after the right ones.
    """

    main: str
    main_sha256: str
    layers: tuple[int, ...]
    agreement: float | None = None


def usual_layers(checkpoint: Checkpoint) -> int:
    """Of a student's decoder where nobody says how many: half of the main decoder's."""
    return max(1, checkpoint.dimensions.decoder_layers // 2)


def initial_student(checkpoint: Checkpoint, layers: int) -> Draft:
    """A student's decoder with the weights of main layers at even distances, as a draft that scores every token.

    Raises:
        UsageError: no layer, or as many as the main decoder has.
    """
    if layers >= checkpoint.dimensions.decoder_layers:
        raise UsageError(
            f"a student of {layers} layers: {checkpoint.model.name} has {checkpoint.dimensions.decoder_layers}; take fewer, such as half"
        )
    draft = initial_draft(checkpoint, "shared", layers)
    every = tuple(range(checkpoint.dimensions.vocab_size))
    projections = {
        f"layers.{layer}.encoder_attn.{name}": checkpoint.tensors[
            f"decoder.layers.{taken}.encoder_attn.{name}"
        ]
        for layer, taken in enumerate(draft.info.cross_layers)
        for name in ("k_proj.weight", "v_proj.weight", "v_proj.bias")
    }
    return Draft(replace(draft.info, tokens=every), {**draft.tensors, **projections})


def student_checkpoint(checkpoint: Checkpoint, trained: Draft) -> Checkpoint:
    """The main model with the trained decoder in place of its own."""
    info = trained.info
    ids = checkpoint.token_ids
    # The layers that stay have their heads still.
    heads = tuple(
        (info.cross_layers.index(i), head) for i, head in ids.alignment_heads if i in info.cross_layers
    )
    return Checkpoint(
        replace(checkpoint.model, name=f"{checkpoint.model.name}-student"),
        replace(checkpoint.dimensions, decoder_layers=info.layers),
        replace(ids, alignment_heads=heads),
        checkpoint.vocabulary,
        _Composed(checkpoint, trained),
    )


class _Composed(Mapping[str, Array]):
    """A student's tensors, in the main model's number format."""

    def __init__(self, checkpoint: Checkpoint, trained: Draft) -> None:
        self._main, self._trained = checkpoint.tensors, trained
        dimensions = replace(checkpoint.dimensions, decoder_layers=trained.info.layers)
        self._shapes = expected_shapes(dimensions)

    def __getitem__(self, name: str) -> Array:
        own = name.removeprefix("decoder.")
        if own != name and own in self._trained.tensors:
            return np.asarray(self._trained.tensors[own], self._main["decoder.embed_tokens.weight"].dtype)
        return self._main[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def write_student(checkpoint: Checkpoint, trained: Draft, folder: Path) -> None:
    """Write a trained student of a checkpoint into an existing folder.

    Raises:
        OSError: it cannot be written.
    """
    student = student_checkpoint(checkpoint, trained)
    half = student.tensors["decoder.embed_tokens.weight"].dtype == np.float16
    shapes = {f"model.{name}": shape for name, shape in expected_shapes(student.dimensions).items()}
    write_settings(
        folder, student.dimensions, student.token_ids, dtype="float16" if half else "float32",
        random_weights=checkpoint.model.random_weights and trained.info.acceptance is None,  # and not trained
    )  # fmt: skip
    write_tokenizer(folder, student.vocabulary, student.token_ids)
    write_safetensors(
        folder / WEIGHTS,
        shapes,
        lambda name: student.tensors[name.removeprefix("model.")],
        "F16" if half else "F32",
    )
    info = StudentInfo(
        checkpoint.model.name,
        checkpoint.model.checkpoint_sha256,
        trained.info.cross_layers,
        trained.info.acceptance,
    )
    (folder / DESCRIPTION).write_text(json.dumps(asdict(info)) + "\n", encoding="utf-8")


def read_student_info(folder: Path) -> StudentInfo | None:
    """What a folder says of the student in it; None of one that holds none.

    Raises:
        CheckpointError: it is damaged.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return None
    try:
        info: StudentInfo = parse_json(StudentInfo, json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError, RecursionError, ArtifactError):
        raise CheckpointError(f"{path}: damaged; make the student again with 'edgewhisper distill'") from None
    return info
