"""What a Winograd convolution loses to rounding: computed in numpy with the number formats of the graph, compared with float64."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .transforms import Transforms, array

Number = Literal["fp32", "fp16", "int8"]
Array = NDArray[Any]

# Enough channels to average over like a layer of a small Whisper, few enough to be quick.
CHANNELS, OUTPUTS, TILES, REPEATS = 384, 48, 24, 4
INT8_LIMIT = 127
UINT8_LIMIT = 255


@dataclass(frozen=True)
class RelativeErrors:
    """||y - y64|| / ||y64|| over several random draws."""

    mean: float
    maximum: float


def relative_error(y: Array, exact: Array) -> float:
    """||y - exact|| / ||exact||; 0 where both are zero."""
    norm = float(np.linalg.norm(exact))
    return float(np.linalg.norm(np.asarray(y, np.float64) - exact)) / norm if norm else 0.0


def errors_on_random_tiles(transforms: Transforms, number: Number) -> RelativeErrors:
    """Errors of unit normal inputs and filters; the draws are the same for every transform."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(REPEATS):
        x = random.normal(size=(transforms.size, TILES, CHANNELS))
        w = random.normal(size=(transforms.taps, CHANNELS, OUTPUTS)) / np.sqrt(transforms.taps * CHANNELS)
        found.append(relative_error(tiles(x, w, transforms, number), direct_tiles(x, w, transforms.tile)))
    return RelativeErrors(float(np.mean(found)), float(np.max(found)))


def tiles(x: Array, w: Array, transforms: Transforms, number: Number, limit: int = INT8_LIMIT) -> Array:
    """Input tiles x [n, R, C] and filter w [r, C, D] -> output tiles [m, R, D], rounded like the graph in `number`.

    `limit` is the largest INT8 weight.
    """
    dtype = np.float16 if number == "fp16" else np.float32
    filters = np.einsum("kj,jcd->kcd", array(transforms.filter), np.asarray(w, np.float64)).astype(dtype)
    inputs = np.einsum("kj,jrc->krc", array(transforms.input).astype(dtype), x.astype(dtype))
    if number == "int8":
        products = np.stack([_int8_product(a, b, limit) for a, b in zip(inputs, filters, strict=True)])
    else:
        # Half precision is multiplied with sums in float32, as processors and ONNX Runtime do.
        products = np.matmul(inputs.astype(np.float32), filters.astype(np.float32)).astype(dtype)
    return np.asarray(np.einsum("ik,krd->ird", array(transforms.output).astype(dtype), products))


def direct_tiles(x: Array, w: Array, tile: int) -> Array:
    """The same in float64 without transforms."""
    taps = len(w)
    return np.stack([sum(x[i + j] @ w[j] for j in range(taps)) for i in range(tile)])


def slices(x: Array, w: Array, number: Number, limit: int = INT8_LIMIT) -> Array:
    """Windows x [r, R, C] and filter w [r, C, D] -> [R, D] as one product, rounded like the graph in `number`."""
    windows, filters = np.concatenate(list(x), axis=-1), np.concatenate(list(w), axis=0)
    if number == "int8":
        return _int8_product(windows.astype(np.float32), filters.astype(np.float32), limit)
    dtype = np.float16 if number == "fp16" else np.float32
    product = windows.astype(dtype).astype(np.float32) @ filters.astype(dtype).astype(np.float32)
    return np.asarray(product.astype(dtype))


def quantize_filter(w: Array, limit: int = INT8_LIMIT) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A filter [K, D] in INT8 with one symmetric scale per output channel: values [K, D], scales [D]."""
    scales = np.maximum(np.abs(w).max(axis=0), np.finfo(np.float32).tiny) / limit
    return np.clip(np.rint(w / scales), -limit, limit).astype(np.int8), scales.astype(np.float32)


def _int8_product(x: Array, w: Array, limit: int) -> Array:
    """x [R, K] w [K, D] with x in uint8 by its own range (ONNX's DynamicQuantizeLinear) and w by `quantize_filter`."""
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / UINT8_LIMIT or 1.0
    zero = round(-low / scale)
    quantized = np.clip(np.rint(x / scale) + zero, 0, UINT8_LIMIT) - zero
    filters, scales = quantize_filter(w, limit)
    return np.asarray(quantized @ filters.astype(np.float64) * (scales * scale))
