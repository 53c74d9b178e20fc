"""External data: one file of raw tensors that the graphs map into memory.

Graphs name tensors by file, offset and length, so a tensor that several graphs use lies in the file once.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.artifact import TensorLocation

# Mapped tensors start on a page of their own: dropping one after it was repacked then frees all of its pages.
ALIGNMENT = 4096
# Tensors of other files are copied in pieces, so that none is held in memory.
COPIED_BYTES = 2**22


class WeightsWriter:
    """Writes tensors one after another; holds one of them in memory at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("wb")
        self._written: dict[str, tuple[int, int, ir.DataType, tuple[int, ...]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def name(self) -> str:
        """The file's name, as graphs refer to it."""
        return self._path.name

    def location(self, key: str) -> TensorLocation:
        """Where the tensor `key` was written."""
        offset, _, dtype, shape = self._written[key]
        return TensorLocation(self.name, offset, str(dtype).lower(), shape)

    def tensor(self, key: str, make: Callable[[], NDArray[np.generic]]) -> ir.ExternalTensor:
        """The tensor `key`, written at the first call and only referred to by later ones.

        Args:
            key: what the tensor is, its layout included, and its name in the graphs.
            make: gives the array; called once per key.
        """
        if key not in self._written:
            array = np.ascontiguousarray(make())
            self._begin(key, array.nbytes, ir.DataType.from_numpy(array.dtype), array.shape)
            self._file.write(array.data.cast("B"))
        return self._reference(key)

    def tensor_of(self, key: str, tensor: ir.TensorProtocol) -> ir.ExternalTensor:
        """The tensor `key` with the value of `tensor`; as `tensor()`, and what lies in another file is copied from there."""
        if key not in self._written:
            if isinstance(tensor, ir.ExternalTensor):
                self._begin(key, tensor.nbytes, tensor.dtype, tuple(tensor.shape.numpy()))
                _copy(Path(tensor.path), tensor.offset or 0, tensor.nbytes, self._file)
            else:
                self._begin(key, tensor.nbytes, tensor.dtype, tuple(tensor.shape.numpy()))
                self._file.write(tensor.tobytes())
        written = self._reference(key)
        if (written.dtype, written.shape) != (tensor.dtype, tensor.shape):
            raise ValueError(
                f"two tensors are called '{key}': {written.dtype} {written.shape}, {tensor.dtype} {tensor.shape}"
            )
        return written

    def _begin(self, key: str, length: int, dtype: ir.DataType, shape: tuple[int, ...]) -> None:
        self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
        self._written[key] = (self._file.tell(), length, dtype, shape)

    def _reference(self, key: str) -> ir.ExternalTensor:
        offset, length, dtype, shape = self._written[key]
        return ir.ExternalTensor(self.name, offset, length, dtype, shape=ir.Shape(shape), name=key)


def _copy(source: Path, offset: int, length: int, target: BinaryIO) -> None:
    with source.open("rb") as file:
        file.seek(offset)
        while length:
            piece = file.read(min(length, COPIED_BYTES))
            if not piece:
                raise OSError(f"{source}: too short for its tensors")
            target.write(piece)
            length -= len(piece)
