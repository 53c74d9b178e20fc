"""whisper.cpp's ggml files: float tensors as stored, quantized ones decoded to float32.

The format is whisper.cpp's (`models/convert-pt-to-ggml.py`, `whisper_model_load`), all numbers little-endian int32: magic,
11 dimensions; the mel filters; the base tokens; then tensors, each with number of dimensions, length of the name, type,
dimensions innermost first, name and values.
"""

import math
import mmap
import struct
from functools import partial
from pathlib import Path

import numpy as np

from edgewhisper.artifact import ModelInfo
from edgewhisper.errors import CheckpointError

from .checkpoint import Array, Checkpoint, Vocabulary, tensors_sha256
from .generation import LANGUAGES, special_tokens
from .ggml_blocks import TENSOR_TYPES, TensorType
from .openai_names import (
    canonical_tensors,
    dimensions_from_hparams,
    original_token_ids,
    vocabulary_beside,
)
from .stored_tensors import StoredTensor
from .tokenizer import build_vocabulary

MAGIC = 0x67676D6C  # "ggml"
_MAX_DIMENSIONS = 4
CONV_BIASES = ("encoder.conv1.bias", "encoder.conv2.bias")  # stored as [d, 1]


def is_ggml(path: Path) -> bool:
    """Whether a file begins as a whisper.cpp model."""
    with path.open("rb") as file:
        return file.read(4) == struct.pack("<I", MAGIC)


def read_ggml(path: Path) -> Checkpoint:
    """Read a whisper.cpp model: f32 and f16 as stored, q8_0, q5_0, q5_1 and q4_0 as float32.

    The file lists the base tokens only; the special ones follow as in whisper.cpp. A tokenizer.json beside the file is
    used in their place.

    Raises:
        CheckpointError: damaged, cut short, or with a tensor type that is not read.
    """
    with path.open("rb") as file:
        reader = _Reader(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), path)
    reader.integers(1)
    hparams = reader.integers(11)
    dimensions = dimensions_from_hparams(
        n_vocab=hparams[0],
        n_audio_ctx=hparams[1],
        n_audio_state=hparams[2],
        n_audio_head=hparams[3],
        n_audio_layer=hparams[4],
        n_text_ctx=hparams[5],
        n_text_state=hparams[6],
        n_text_head=hparams[7],
        n_text_layer=hparams[8],
        n_mels=hparams[9],
        source=str(path),
    )
    n_mels, n_frequencies = reader.integers(2)
    reader.take(4 * n_mels * n_frequencies)
    (n_tokens,) = reader.integers(1)
    base = [reader.take(*reader.integers(1)) for _ in range(n_tokens)]
    tensors = canonical_tensors(_read_tensors(reader), dimensions, str(path))
    size = dimensions.vocab_size
    vocabulary = vocabulary_beside(path, size) or _vocabulary(base, size, path)
    return Checkpoint(
        model=ModelInfo(
            name=path.stem, source="whisper.cpp ggml file", checkpoint_sha256=tensors_sha256(tensors)
        ),
        dimensions=dimensions,
        token_ids=original_token_ids(vocabulary, str(path)),
        vocabulary=vocabulary,
        tensors=tensors,
    )


class _Reader:
    """Takes a mapped file piece by piece and refuses to go beyond its end."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.position = data, path, 0

    def skip(self, size: int) -> int:
        start = self.position
        if size < 0 or start + size > len(self.data):
            raise CheckpointError(
                f"{self.path}: damaged or cut short at byte {start}; download or copy it again"
            )
        self.position += size
        return start

    def take(self, size: int) -> bytes:
        start = self.skip(size)
        return self.data[start : start + size]

    def integers(self, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}i", self.take(4 * count))

    @property
    def ended(self) -> bool:
        return self.position == len(self.data)


def _read_tensors(reader: _Reader) -> dict[str, StoredTensor]:
    stored = {}
    while not reader.ended:
        n_dimensions, name_length, type_number = reader.integers(3)
        if not 0 < n_dimensions <= _MAX_DIMENSIONS:
            raise CheckpointError(
                f"{reader.path}: damaged at byte {reader.position}; download or copy it again"
            )
        shape = reader.integers(n_dimensions)[::-1]
        name = reader.take(name_length).decode(errors="replace")
        kind = TENSOR_TYPES.get(type_number)
        if kind is None:
            known = ", ".join(kind.name for kind in TENSOR_TYPES.values())
            raise CheckpointError(
                f"{reader.path}: tensor '{name}' has ggml type {type_number}; only {known} can be read"
            )
        if min(shape) < 1 or shape[-1] % kind.block:
            raise CheckpointError(
                f"{reader.path}: tensor '{name}' has an impossible shape {list(shape)}; download it again"
            )
        blocks = math.prod(shape) // kind.block
        start = reader.skip(blocks * kind.block_bytes)
        if name in CONV_BIASES:
            shape = (math.prod(shape),)
        stored[name] = StoredTensor(shape, partial(_load, reader.data, kind, shape, blocks, start))
    return stored


def _load(data: mmap.mmap, kind: TensorType, shape: tuple[int, ...], blocks: int, start: int) -> Array:
    stored = np.frombuffer(data, np.uint8, blocks * kind.block_bytes, start).reshape(blocks, kind.block_bytes)
    # Tensors begin at any byte; `require` copies those that numpy could not use as they lie.
    return np.require(kind.decode(stored).reshape(shape), requirements="A")


def _vocabulary(base: list[bytes], vocab_size: int, path: Path) -> Vocabulary:
    languages = vocab_size - len(base) - len(special_tokens(0))
    if not 0 <= languages <= len(LANGUAGES):
        raise CheckpointError(
            f"{path}: {len(base)} of {vocab_size} tokens listed, not a vocabulary of Whisper's; put the model's tokenizer.json beside it"
        )
    return build_vocabulary(base, special_tokens(languages))
