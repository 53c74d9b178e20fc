"""Drafts: small decoders that guess what a Whisper's own decoder will say.

A draft shares the encoder of its main model: it reads the cross-attention keys and values of some of the main decoder's layers, so it
has no projections for them, and the main model's token embedding. It scores a shortlist of tokens only, by the rows of the main model's
table. There are two kinds:

- "shared": a decoder of few layers, with self-attention over the text so far.
- "heads": goes on from the main decoder's last hidden state, which knows the text so far, so it has neither self-attention nor a cache.
  A step takes a state and a token, mixes them, looks at the sound and gives the next state; the next token is scored by it.
  (After Medusa's heads, arXiv 2401.10774, made recurrent as in ReDrafter, arXiv 2403.09919, with attention to the sound added.)

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
Kind = Literal["shared", "heads"]

# Of a vocabulary's most frequent tokens, where no text says which they are: Whisper's ids of text go by frequency.
SHORTLIST = 4096


@dataclass(frozen=True)
class DraftInfo:
    """The contents of `draft.json`.

    Attributes:
        kind: "shared" or "heads", as above.
        layers: how many; of heads one.
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
    """A draft and its tensors.

    One that was a model of its own may have an embedding ("embed_tokens.weight", "embed_positions.weight") and projections to keys and
    values, whose layers count on behind the main decoder's in `info.cross_layers`.
    """

    info: DraftInfo
    tensors: Mapping[str, Array]


def draft_shapes(dimensions: ModelDimensions, kind: Kind, layers: int) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a draft."""
    found: dict[str, tuple[int, ...]] = {}
    width = dimensions.d_model
    if kind == "heads":
        found |= {
            "token_norm.weight": (width,),
            "token_norm.bias": (width,),
            "mix.weight": (width, 2 * width),
            "mix.bias": (width,),
        }
    for name, shape in expected_shapes(dimensions).items():
        parts = name.split(".")
        if parts[:2] == ["decoder", "layer_norm"] or (
            parts[:2] == ["decoder", "layers"] and int(parts[2]) < layers and not _is_left_out(name, kind)
        ):
            found[name.removeprefix("decoder.")] = shape
    if kind == "heads":  # half as wide a feed-forward network
        hidden = dimensions.decoder_ffn // 2
        found |= {
            "layers.0.fc1.weight": (hidden, width),
            "layers.0.fc1.bias": (hidden,),
            "layers.0.fc2.weight": (width, hidden),
        }
    return found


def _is_left_out(name: str, kind: Kind) -> bool:
    """Whether a tensor of a decoder layer stays the main model's, or is of no use."""
    if kind == "heads" and ".self_attn" in name:
        return True
    return ".encoder_attn.k_proj." in name or ".encoder_attn.v_proj." in name


def initial_draft(checkpoint: Checkpoint, kind: Kind, layers: int) -> Draft:
    """A draft with the weights of main layers at even distances: where training begins, and enough for timing.

    Raises:
        UsageError: more layers than the main decoder has, or none; of heads more than one.
    """
    dims = checkpoint.dimensions
    if not 1 <= layers <= dims.decoder_layers:
        raise UsageError(
            f"draft of {layers} layers: {checkpoint.model.name} has {dims.decoder_layers}; take 1 or 2"
        )
    if kind == "heads" and layers != 1:
        raise UsageError(f"heads of {layers} layers: they have one; leave --layers out")
    # The last ones: there, attention to the sound is sharpest.
    taken = [round((i + 1) * dims.decoder_layers / layers) - 1 for i in range(layers)]
    tensors = {}
    for name, shape in draft_shapes(dims, kind, layers).items():
        parts = name.split(".")
        if parts[0] in ("token_norm", "mix"):
            tensors[name] = _initial_mix(name, shape)
            continue
        if parts[0] == "layers":
            parts[1] = str(taken[int(parts[1])])
        tensor = checkpoint.tensors[f"decoder.{'.'.join(parts)}"]
        tensors[name] = tensor[tuple(map(slice, shape))]
    ids = checkpoint.token_ids
    text = range(min(SHORTLIST, ids.end_of_text))
    special = range(ids.timestamp_begin, dims.vocab_size)
    tokens = tuple(sorted({*text, ids.end_of_text, *special}))
    return Draft(DraftInfo(kind, layers, tuple(taken), tokens, checkpoint.model.checkpoint_sha256), tensors)


def _initial_mix(name: str, shape: tuple[int, ...]) -> Array:
    if name == "token_norm.weight":
        return np.ones(shape, np.float32)
    if name.endswith(".bias"):
        return np.zeros(shape, np.float32)
    return np.random.default_rng(0).normal(scale=shape[1] ** -0.5, size=shape).astype(np.float32)


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


def with_head(checkpoint: Checkpoint, tokens: tuple[int, ...]) -> Checkpoint:
    """A checkpoint that has a head for some tokens alone, in the place of a draft's."""
    none = Draft(DraftInfo("shared", 0, (), tokens, ""), {})
    return with_draft(checkpoint, none)


class _Joined(Mapping[str, Array]):
    """A checkpoint's tensors and a draft's, read when asked for."""

    def __init__(
        self, main: Mapping[str, Array], draft: Mapping[str, Array], rows: NDArray[np.int64]
    ) -> None:
        self._main, self._draft, self._rows = main, draft, rows

    def __getitem__(self, name: str) -> Array:
        if name == HEAD:
            own = self._draft.get("embed_tokens.weight")
            rows: Array = (self._main["decoder.embed_tokens.weight"] if own is None else own)[self._rows]
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
        and (info.kind == "shared" or info.layers == 1)
        and found == draft_shapes(checkpoint.dimensions, info.kind, info.layers)
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
