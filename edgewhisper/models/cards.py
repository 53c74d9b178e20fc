"""What is known of each Whisper checkpoint before it is downloaded.

Dimensions are those of the checkpoints' config.json, licences those of their pages on the Hugging Face hub.
"""

import difflib
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgewhisper.artifact import ModelDimensions
from edgewhisper.errors import CheckpointError

from .checkpoint import expected_shapes
from .generation import ENGLISH_ONLY_VOCABULARY
from .json_file import read_json_object
from .transformers_folder import read_dimensions

DEMO, DEMO_STUDENT = "demo", "demo-student"
DEMO_FOLDER = Path(__file__).parent / "demo"
BUNDLED = {DEMO: DEMO_FOLDER, DEMO_STUDENT: DEMO_FOLDER / "student"}
"""The models that come with the package, and where they are."""

_DEMO_LANGUAGES = 2  # English and German

_MULTILINGUAL_VOCABULARY = 51_865
_V3_VOCABULARY = 51_866  # one language more

# Bits per matrix element, the scales included: int8 has one scale per row, int4 one float32 per block of 32.
_MATRIX_BITS = {"fp32": 32.0, "fp16": 16.0, "int8": 8.0, "int4": 4 + 32 / 32}
# Vectors (biases, layer norms) and positions are added, not multiplied.
_VECTOR_BITS = {"fp32": 32.0, "fp16": 16.0, "int8": 32.0, "int4": 32.0}
# The encoder of int4 is INT8, the projections to keys and values that it computes included.
_ENCODER_BITS = _MATRIX_BITS | {"int4": 8.0}
_ENCODER_PROJECTIONS = ("encoder_attn.k_proj", "encoder_attn.v_proj")
PRECISIONS = tuple(_MATRIX_BITS)


@dataclass(frozen=True)
class ModelCard:
    """One checkpoint.

    Attributes:
        name: the short name.
        hub_id: where it is downloaded from; None for a bundled model.
        dimensions: the model's shape.
        languages: how many it transcribes; 1 for a model trained on English only.
        licence: of the weights.
        draft: the checkpoint that proposes tokens for it in speculative decoding. It must share the vocabulary and be
            several times cheaper per token; the distilled ones share the encoder as well. None where no published
            checkpoint does: a token of tiny costs over half of base's, and large-v3's vocabulary has no small model.
    """

    name: str
    hub_id: str | None
    dimensions: ModelDimensions
    languages: int
    licence: str
    draft: str | None = None

    @property
    def multilingual(self) -> bool:
        """Whether the model transcribes more than English."""
        return self.languages > 1

    @cached_property
    def parameters(self) -> int:
        """Number of weights; the output head is the embedding table and counts once."""
        return sum(map(math.prod, expected_shapes(self.dimensions).values()))

    def size(self, precision: str) -> int:
        """Estimated bytes of the weights, from the dimensions: elements times bits (see the tables above); no graph, no
        tokenizer, convolutions as in the checkpoint.

        Args:
            precision: one of `PRECISIONS`.
        """
        shapes = expected_shapes(self.dimensions)
        bits = sum(math.prod(shape) * _bits(name, shape)[precision] for name, shape in shapes.items())
        return round(bits / 8)


def _bits(name: str, shape: tuple[int, ...]) -> dict[str, float]:
    """Precision -> bits of an element of this tensor."""
    if len(shape) == 1 or "embed_positions" in name:
        return _VECTOR_BITS
    in_encoder = name.startswith("encoder.") or any(part in name for part in _ENCODER_PROJECTIONS)
    return _ENCODER_BITS if in_encoder else _MATRIX_BITS


def _dimensions(
    width: int,
    layers: int,
    *,
    decoder_layers: int | None = None,
    n_mels: int = 80,
    vocab_size: int = _MULTILINGUAL_VOCABULARY,
) -> ModelDimensions:
    head_dim, ffn_factor = 64, 4  # of every published Whisper
    return ModelDimensions(
        n_mels=n_mels,
        d_model=width,
        encoder_layers=layers,
        encoder_heads=width // head_dim,
        encoder_ffn=ffn_factor * width,
        decoder_layers=layers if decoder_layers is None else decoder_layers,
        decoder_heads=width // head_dim,
        decoder_ffn=ffn_factor * width,
        vocab_size=vocab_size,
        max_source_positions=1500,
        max_target_positions=448,
    )


def _openai(
    name: str,
    dimensions: ModelDimensions,
    languages: int,
    draft: str | None = None,
    licence: str = "Apache-2.0",
) -> ModelCard:
    return ModelCard(name, f"openai/whisper-{name}", dimensions, languages, licence, draft)


def _distil(name: str, dimensions: ModelDimensions, draft: str | None = None) -> ModelCard:
    return ModelCard(name, f"distil-whisper/{name}", dimensions, languages=1, licence="MIT", draft=draft)


def _english(width: int, layers: int, decoder_layers: int | None = None) -> ModelDimensions:
    return _dimensions(width, layers, decoder_layers=decoder_layers, vocab_size=ENGLISH_ONLY_VOCABULARY)


def _v3(decoder_layers: int) -> ModelDimensions:
    return _dimensions(1280, 32, decoder_layers=decoder_layers, n_mels=128, vocab_size=_V3_VOCABULARY)


def _bundled() -> tuple[ModelCard, ...]:
    configurations = {name: folder / "config.json" for name, folder in BUNDLED.items()}
    return tuple(
        ModelCard(name, None, read_dimensions(read_json_object(path), path), _DEMO_LANGUAGES, "MIT")
        for name, path in configurations.items()
        if path.is_file()
    )


CARDS: tuple[ModelCard, ...] = (
    _openai("tiny", _dimensions(384, 4), 99),
    _openai("tiny.en", _english(384, 4), 1),
    _openai("base", _dimensions(512, 6), 99),
    _openai("base.en", _english(512, 6), 1),
    _openai("small", _dimensions(768, 12), 99, "tiny"),
    _openai("small.en", _english(768, 12), 1, "distil-small.en"),
    _openai("medium", _dimensions(1024, 24), 99, "tiny"),
    _openai("medium.en", _english(1024, 24), 1, "distil-medium.en"),
    _openai("large", _dimensions(1280, 32), 99, "tiny"),
    _openai("large-v2", _dimensions(1280, 32), 99, "distil-large-v2"),
    _openai("large-v3", _v3(32), 100, "distil-large-v3.5"),
    _openai("large-v3-turbo", _v3(4), 100, licence="MIT"),
    _distil("distil-small.en", _english(768, 12, decoder_layers=4)),
    _distil("distil-medium.en", _english(1024, 24, decoder_layers=2)),
    _distil("distil-large-v2", _dimensions(1280, 32, decoder_layers=2)),
    _distil("distil-large-v3", _v3(2)),
    _distil("distil-large-v3.5", _v3(2)),
    *_bundled(),
)


def find_card(name: str) -> ModelCard:
    """The card of a short name ("base.en") or hub id ("openai/whisper-base.en"), whatever the case.

    Raises:
        CheckpointError: there is none; the message lists close names.
    """
    wanted = name.lower()
    names = {key.lower(): card for card in CARDS for key in (card.name, card.hub_id) if key}
    if wanted in names:
        return names[wanted]
    close = difflib.get_close_matches(wanted, names, n=4)
    hint = (
        f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(card.name for card in CARDS)}"
    )
    raise CheckpointError(f"no model '{name}'; {hint}")
