"""whisper.cpp's ggml files, written from a checkpoint: to compare with whisper.cpp on the same weights.

The format is described in `ggml`. Which tensors are stored in which type follows whisper.cpp: `models/convert-pt-to-ggml.py`
for float32 and float16, `examples/common-ggml.cpp` for quantized files.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from edgewhisper.atomic import atomic_file
from edgewhisper.errors import CheckpointError

from .checkpoint import Array, Checkpoint
from .ggml import CONV_BIASES, MAGIC
from .ggml_blocks import BLOCK
from .openai_names import openai_name

GgmlKind = Literal["f32", "f16", "q8_0", "q5_1"]

_F32, _F16 = 0, 1  # of `enum ggml_type`
_QUANTIZATION_VERSION = 2  # ggml's GGML_QNT_VERSION; a quantized file's type is preceded by it in the header
_VERSION_FACTOR = 1000
# Large enough for fast writing, small enough beside the file: an embedding table is quantized in parts.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class _Storage:
    """How the matrices of a file are stored.

    Attributes:
        file_type: of `enum ggml_ftype`, for the header.
        tensor_type: of `enum ggml_type`.
        encode: values [rows, columns] -> their bytes.
    """

    file_type: int
    tensor_type: int
    encode: Callable[[NDArray[np.float32]], bytes]


def write_ggml(checkpoint: Checkpoint, path: Path, kind: GgmlKind, mel_filters: NDArray[np.float32]) -> None:
    """Write a model file for whisper.cpp, one tensor in memory at a time.

    Args:
        checkpoint: the model; its vocabulary's base tokens are written, whisper.cpp adds the special ones.
        path: the file, written whole or not at all.
        kind: how matrices are stored. The two convolutions' weights are float16 in all but "f32", which whisper.cpp 1.8
            reads but cannot run on processors; vectors and position embeddings are always float32.
        mel_filters: [n_mels, n_fft / 2 + 1], which whisper.cpp takes from the file.

    Raises:
        CheckpointError: a matrix cannot be stored in blocks of 32 values.
    """
    storage = _STORAGE[kind]
    quantized = kind not in ("f32", "f16")
    if quantized and checkpoint.dimensions.d_model % BLOCK:
        raise CheckpointError(
            f"{checkpoint.model.name}: {kind} stores {BLOCK} values together, rows of "
            f"{checkpoint.dimensions.d_model} do not divide; take f16"
        )
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        version = _VERSION_FACTOR * _QUANTIZATION_VERSION if quantized else 0
        _write_header(file, checkpoint, version + storage.file_type, mel_filters)
        for name in checkpoint.tensors:
            _write_tensor(file, openai_name(name), checkpoint.tensors[name], storage)


def _write_header(
    file: BinaryIO, checkpoint: Checkpoint, file_type: int, mel_filters: NDArray[np.float32]
) -> None:
    shape = checkpoint.dimensions
    file.write(
        struct.pack(
            "<12i",
            MAGIC,
            shape.vocab_size,
            shape.max_source_positions,
            shape.d_model,
            shape.encoder_heads,
            shape.encoder_layers,
            shape.max_target_positions,
            shape.d_model,
            shape.decoder_heads,
            shape.decoder_layers,
            shape.n_mels,
            file_type,
        )
    )
    file.write(struct.pack("<2i", *mel_filters.shape) + mel_filters.astype("<f4").tobytes())
    base_tokens = checkpoint.vocabulary.tokens[: checkpoint.token_ids.end_of_text]
    file.write(struct.pack("<i", len(base_tokens)))
    for token in base_tokens:
        file.write(struct.pack("<i", len(token)) + token)


def _write_tensor(file: BinaryIO, name: str, array: Array, storage: _Storage) -> None:
    shape = (*array.shape, 1) if name in CONV_BIASES else array.shape
    if array.ndim == 2 and "positional_embedding" not in name:
        tensor_type, encode = storage.tensor_type, storage.encode
    elif array.ndim == 3 and storage.tensor_type != _F32:
        tensor_type, encode = _F16, _float16
    else:
        tensor_type, encode = _F32, _float32
    encoded_name = name.encode()
    file.write(struct.pack("<3i", len(shape), len(encoded_name), tensor_type))
    file.write(struct.pack(f"<{len(shape)}i", *reversed(shape)) + encoded_name)
    for start in range(0, len(array), _ROWS_AT_ONCE):
        file.write(encode(array[start : start + _ROWS_AT_ONCE].astype(np.float32)))


def _float32(values: NDArray[np.float32]) -> bytes:
    return values.astype("<f4").tobytes()


def _float16(values: NDArray[np.float32]) -> bytes:
    return values.astype("<f2").tobytes()


def _q8_0(values: NDArray[np.float32]) -> bytes:
    """Blocks of a float16 scale and 32 int8: x = scale * q, the largest magnitude is 127."""
    blocks = values.reshape(-1, BLOCK)
    scale = np.abs(blocks).max(axis=1, keepdims=True) / np.float32(127)
    quantized = _round_half_away(blocks * _inverse(scale)).astype(np.int8)
    return np.concatenate([_half_bytes(scale), quantized.view(np.uint8)], axis=1).tobytes()


def _q5_1(values: NDArray[np.float32]) -> bytes:
    """Blocks of a float16 scale and minimum, 32 fifth bits, 32 nibbles: x = scale * q + minimum, q from 0 to 31."""
    blocks = values.reshape(-1, BLOCK)
    minimum = blocks.min(axis=1, keepdims=True)
    scale = (blocks.max(axis=1, keepdims=True) - minimum) / np.float32(31)
    quantized = ((blocks - minimum) * _inverse(scale) + np.float32(0.5)).astype(np.uint8)
    fifth_bits = np.packbits(quantized >> np.uint8(4), axis=1, bitorder="little")
    half = BLOCK // 2
    nibbles = (quantized[:, :half] & 0x0F) | (quantized[:, half:] << np.uint8(4))
    return np.concatenate([_half_bytes(scale), _half_bytes(minimum), fifth_bits, nibbles], axis=1).tobytes()


def _inverse(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / scale, 0 for a block of (nearly) equal values. Like ggml, of the scale before it is rounded to float16."""
    smallest = np.finfo(np.float32).tiny  # whose inverse is still finite
    return np.divide(np.float32(1), scale, out=np.zeros_like(scale), where=scale >= smallest)


def _round_half_away(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """C's `roundf`; numpy rounds halves to even."""
    whole = np.trunc(values)
    return whole + np.trunc(2 * (values - whole))


def _half_bytes(column: NDArray[np.float32]) -> NDArray[np.uint8]:
    return column.astype("<f2").view(np.uint8)


_STORAGE: dict[GgmlKind, _Storage] = {
    "f32": _Storage(0, _F32, _float32),
    "f16": _Storage(1, _F16, _float16),
    "q8_0": _Storage(7, 8, _q8_0),
    "q5_1": _Storage(9, 7, _q5_1),
}
GGML_KINDS = tuple(_STORAGE)
