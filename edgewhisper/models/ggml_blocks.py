"""ggml's tensor types: blocks of 32 values that share a scale.

Layouts from ggml (`ggml-common.h`, `ggml-quants.c`). d and m are float16; the low nibbles of a block's 16 bytes are its
first 16 values, the high nibbles the last 16; the fifth bits are 32 bits, little-endian.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .checkpoint import Array

Blocks = NDArray[np.uint8]
BLOCK = 32


@dataclass(frozen=True)
class TensorType:
    """How a ggml file stores a tensor.

    Attributes:
        name: as whisper.cpp's quantize command calls it.
        block: values in a block.
        block_bytes: bytes of a block.
        decode: blocks [n, block_bytes] -> values [n, block].
    """

    name: str
    block: int
    block_bytes: int
    decode: Callable[[Blocks], Array]


def _float32(blocks: Blocks) -> Array:
    return blocks.view("<f4")


def _float16(blocks: Blocks) -> Array:
    return blocks.view("<f2")


def _q4_0(blocks: Blocks) -> Array:
    return _scale(blocks) * (_nibbles(blocks[:, 2:]).astype(np.int8) - 8).astype(np.float32)


def _q5_0(blocks: Blocks) -> Array:
    values = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks[:, 2:6])
    return _scale(blocks) * (values.astype(np.int8) - 16).astype(np.float32)


def _q5_1(blocks: Blocks) -> Array:
    values = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks[:, 4:8])
    return _scale(blocks) * values.astype(np.float32) + _scale(blocks[:, 2:])


def _q8_0(blocks: Blocks) -> Array:
    return _scale(blocks) * blocks[:, 2:].view(np.int8).astype(np.float32)


def _scale(blocks: Blocks) -> NDArray[np.float32]:
    return np.ascontiguousarray(blocks[:, :2]).view("<f2").astype(np.float32)


def _nibbles(packed: Blocks) -> Blocks:
    return np.concatenate([packed & 0x0F, packed >> np.uint8(4)], axis=1)


def _fifth_bits(packed: Blocks) -> Blocks:
    return np.unpackbits(packed, axis=1, bitorder="little") << np.uint8(4)


# By ggml's number for the type (`enum ggml_type`).
TENSOR_TYPES = {
    0: TensorType("f32", 1, 4, _float32),
    1: TensorType("f16", 1, 2, _float16),
    2: TensorType("q4_0", BLOCK, 2 + 16, _q4_0),
    6: TensorType("q5_0", BLOCK, 2 + 4 + 16, _q5_0),
    7: TensorType("q5_1", BLOCK, 2 + 2 + 4 + 16, _q5_1),
    8: TensorType("q8_0", BLOCK, 2 + BLOCK, _q8_0),
}
