"""Drafts: small decoders that guess what a Whisper's own decoder will say.

A draft shares the encoder of its main model: it reads the cross-attention keys and values of some of the main decoder's layers, so it
has no projections for them, and the main model's token embedding and positions. What it has of its own are its layers and the last
normalization. It scores a shortlist of tokens only, by the rows of the main model's table.

A folder holds `draft.json` and `model.safetensors`; tensors are called "layers.0.self_attn.q_proj.weight" .. "layer_norm.bias".
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import ModelDimensions, parse_json
from edgewhisper.errors import ArtifactError, CheckpointError, UsageError

from .checkpoint import Array, Checkpoint, expected_shapes
from .safetensors_file import open_safetensors, write_safetensors
from .stored_tensors import LazyTensors

DESCRIPTION, WEIGHTS = "draft.json", "model.safetensors"
PREFIX = "draft."
HEAD = f"{PREFIX}head.weight"
Kind = Literal["shared"]

# Of a vocabulary's most frequent tokens, where no text says which they are: Whisper's ids of text go by frequency.
SHORTLIST = 6144


@dataclass(frozen=True)
class DraftInfo:
    """The contents of `draft.json`.

    Attributes:
        kind: "shared": a decoder of few layers over the main model's keys and values.
        layers: how many.
        cross_layers: for each, the main decoder's layer whose keys and values of cross-attention it reads.
        tokens: the ids that it scores, ascending.
        main_sha256: of the main model's checkpoint.
        acceptance: share of the main model's tokens that it guessed on held-out data, each after the right ones; None where nobody
            measured it.
    """

    kind: Kind
    layers: int
    cross_layers: tuple[int, ...]
    tokens: tuple[int, ...]
    main_sha256: str
    acceptance: float | None = None


@dataclass(frozen=True)
class Draft:
    """A draft and its tensors."""

    info: DraftInfo
    tensors: Mapping[str, Array]


def draft_shapes(dimensions: ModelDimensions, layers: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a draft."""
    found = {}
    for name, shape in expected_shapes(dimensions).items():
        parts = name.split(".")
        if parts[:2] == ["decoder", "layer_norm"] or (
            parts[:2] == ["decoder", "layers"] and int(parts[2]) < layers and not _is_kept(name)
        ):
            found[name.removeprefix("decoder.")] = shape
    return found


def _is_kept(name: str) -> bool:
    """Whether a tensor of a decoder layer stays the main model's."""
    return ".encoder_attn.k_proj." in name or ".encoder_attn.v_proj." in name


def initial_draft(checkpoint: Checkpoint, layers: int) -> Draft:
    """A draft with the weights of main layers at even distances: where training begins, and enough for timing.

    Raises:
        UsageError: more layers than the main decoder has, or none.
    """
    dims = checkpoint.dimensions
    if not 1 <= layers <= dims.decoder_layers:
        raise UsageError(
            f"draft of {layers} layers: {checkpoint.model.name} has {dims.decoder_layers}; take 1 or 2"
        )
    # The last ones: there, attention to the sound is sharpest.
    taken = [round((i + 1) * dims.decoder_layers / layers) - 1 for i in range(layers)]
    tensors = {}
    for name in draft_shapes(dims, layers):
        parts = name.split(".")
        if parts[0] == "layers":
            parts[1] = str(taken[int(parts[1])])
        tensors[name] = checkpoint.tensors[f"decoder.{'.'.join(parts)}"]
    ids = checkpoint.token_ids
    text = range(min(SHORTLIST, ids.end_of_text))
    special = range(ids.timestamp_begin, dims.vocab_size)
    tokens = tuple(sorted({*text, ids.end_of_text, *special}))
    return Draft(
        DraftInfo("shared", layers, tuple(taken), tokens, checkpoint.model.checkpoint_sha256), tensors
    )


def with_draft(checkpoint: Checkpoint, draft: Draft) -> Checkpoint:
    """The checkpoint with the draft's tensors beside its own, named "draft.*", and the draft's head."""
    rows = np.asarray(draft.info.tokens, np.int64)
    return Checkpoint(
        checkpoint.model,
        checkpoint.dimensions,
        checkpoint.token_ids,
        checkpoint.vocabulary,
        _Joined(checkpoint.tensors, draft.tensors, rows),
    )


class _Joined(Mapping[str, Array]):
    """A checkpoint's tensors and a draft's, read when asked for."""

    def __init__(
        self, main: Mapping[str, Array], draft: Mapping[str, Array], rows: NDArray[np.int64]
    ) -> None:
        self._main, self._draft, self._rows = main, draft, rows

    def __getitem__(self, name: str) -> Array:
        if name == HEAD:
            rows: Array = self._main["decoder.embed_tokens.weight"][self._rows]
            return rows
        return self._draft[name.removeprefix(PREFIX)] if name.startswith(PREFIX) else self._main[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._main
        yield from (f"{PREFIX}{name}" for name in self._draft)
        yield HEAD

    def __len__(self) -> int:
        return len(self._main) + len(self._draft) + 1


def read_draft(folder: Path, checkpoint: Checkpoint) -> Draft:
    """Read a draft for its main model.

    Raises:
        CheckpointError: no draft, a damaged one, or one of another main model.
    """
    path = folder / DESCRIPTION
    try:
        info = parse_json(DraftInfo, json.loads(path.read_bytes()), str(path))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: holds no draft (no {DESCRIPTION}); make one with 'edgewhisper distill'"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError, ArtifactError):
        raise CheckpointError(f"{path}: damaged; make the draft again with 'edgewhisper distill'") from None
    assert isinstance(info, DraftInfo)
    if info.main_sha256 != checkpoint.model.checkpoint_sha256:
        raise CheckpointError(
            f"{folder}: is a draft of another model than {checkpoint.model.name}; make one for it with 'edgewhisper distill'"
        )
    tensors = open_safetensors(folder / WEIGHTS)
    found = {name: tensor.shape for name, tensor in tensors.items()}
    vocabulary = checkpoint.dimensions.vocab_size
    sound = (
        len(info.cross_layers) == info.layers
        and all(0 <= layer < checkpoint.dimensions.decoder_layers for layer in info.cross_layers)
        and len(info.tokens) > 0
        and list(info.tokens) == sorted(set(info.tokens))
        and 0 <= info.tokens[0] <= info.tokens[-1] < vocabulary
        and found == draft_shapes(checkpoint.dimensions, info.layers)
    )
    if not sound:
        raise CheckpointError(
            f"{folder}: its weights do not fit {checkpoint.model.name}; make the draft again with 'edgewhisper distill'"
        )
    return Draft(info, LazyTensors(tensors))


def write_draft(draft: Draft, folder: Path) -> None:
    """Write a draft into an existing folder.

    Raises:
        OSError: it cannot be written.
    """
    shapes = {name: tensor.shape for name, tensor in draft.tensors.items()}
    write_safetensors(folder / WEIGHTS, shapes, lambda name: draft.tensors[name])
    (folder / DESCRIPTION).write_text(json.dumps(asdict(draft.info)) + "\n", encoding="utf-8")
