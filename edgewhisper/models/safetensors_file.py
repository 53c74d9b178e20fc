"""safetensors files: mapped for reading, streamed for writing.

The format is 8 bytes of header length (little-endian), a JSON header `name -> {dtype, shape, data_offsets}`, and the
data; https://github.com/huggingface/safetensors#format. Read directly rather than through the `safetensors` package,
whose numpy reader copies each tensor and knows no bfloat16.
"""

import json
import math
import mmap
import struct
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from edgewhisper.errors import CheckpointError

from .checkpoint import Array
from .stored_tensors import StoredTensor

_LENGTH = struct.Struct("<Q")
_DTYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype("<u2")}
_MAX_HEADER_BYTES = 100_000_000  # the limit that the format's own reader sets


def open_safetensors(path: Path) -> dict[str, StoredTensor]:
    """The float tensors of a safetensors file, mapped: float32 and float16 as stored, bfloat16 widened to float32.

    Tensors of other types are left out.

    Raises:
        CheckpointError: the file is missing, cut short or not safetensors.
    """
    try:
        with path.open("rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; the checkpoint is incomplete, download it again") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # mmap refuses an empty file
        raise _damaged(path, "it is empty") from None
    return {
        name: _stored(data, path, name, entry, start)
        for header, start in (_read_header(data, path),)
        for name, entry in header.items()
        if name != "__metadata__" and isinstance(entry, dict) and entry.get("dtype") in _DTYPES
    }


def _read_header(data: mmap.mmap, path: Path) -> tuple[dict[str, Any], int]:
    if len(data) < _LENGTH.size:
        raise _damaged(path, "it is cut short")
    (length,) = _LENGTH.unpack_from(data)
    if length > _MAX_HEADER_BYTES:
        raise _damaged(path, "it is not a safetensors file")
    if _LENGTH.size + length > len(data):
        raise _damaged(path, "it is cut short")
    try:
        header = json.loads(data[_LENGTH.size : _LENGTH.size + length])
    except (ValueError, RecursionError):
        raise _damaged(path, "its header is not JSON") from None
    if not isinstance(header, dict):
        raise _damaged(path, "its header is not a JSON object")
    return header, _LENGTH.size + length


def _stored(data: mmap.mmap, path: Path, name: str, entry: dict[str, Any], start: int) -> StoredTensor:
    dtype = _DTYPES[entry["dtype"]]
    try:
        shape = tuple(int(size) for size in entry["shape"])
        begin, end = (int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, f"the header of tensor '{name}' is incomplete") from None
    if min(shape, default=0) < 0 or begin < 0 or end - begin != math.prod(shape) * dtype.itemsize:
        raise _damaged(path, f"the header of tensor '{name}' contradicts itself")
    if start + end > len(data):
        raise _damaged(path, f"it ends inside tensor '{name}'")
    return StoredTensor(shape, partial(_load, data, dtype, shape, start + begin))


def _load(data: mmap.mmap, dtype: np.dtype[Any], shape: tuple[int, ...], offset: int) -> Array:
    array = np.frombuffer(data, dtype, math.prod(shape), offset).reshape(shape)
    return widen_bfloat16(array) if dtype == _DTYPES["BF16"] else array


def widen_bfloat16(bits: Array) -> Array:
    """The float32 values of bfloat16 bit patterns (uint16), exactly: bfloat16 is the upper half of float32."""
    return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: damaged safetensors file, {reason}; download or copy the checkpoint again"
    )


def write_safetensors(
    path: Path,
    shapes: Mapping[str, tuple[int, ...]],
    tensor: Callable[[str], Array],
    dtype: Literal["F32", "F16"] = "F32",
) -> None:
    """Write tensors one after the other, so that only one of them is in memory at a time.

    Args:
        path: the file to write.
        shapes: name -> shape, in the file's order.
        tensor: gives the values of a name.
        dtype: of all of them in the file.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}  # transformers asks for this
    offset = 0
    for name, shape in shapes.items():
        size = math.prod(shape) * _DTYPES[dtype].itemsize
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH.size)  # aligns the data
    with path.open("wb") as file:
        file.write(_LENGTH.pack(len(text)) + text)
        for name in shapes:
            file.write(np.ascontiguousarray(tensor(name), _DTYPES[dtype]).data.cast("B"))
