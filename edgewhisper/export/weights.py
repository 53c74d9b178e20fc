"""External data: one file of raw tensors that the graphs map into memory.

Graphs name tensors by file, offset and length, so a tensor that several graphs use lies in the file once.
"""

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgewhisper.artifact import TensorLocation

# Mapped tensors start on a page of their own: dropping one after it was repacked then frees all of its pages.
ALIGNMENT = 4096


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
            self._file.write(b"\0" * (-self._file.tell() % ALIGNMENT))
            self._written[key] = (
                self._file.tell(),
                array.nbytes,
                ir.DataType.from_numpy(array.dtype),
                array.shape,
            )
            self._file.write(array.data.cast("B"))
        offset, length, dtype, shape = self._written[key]
        return ir.ExternalTensor(self.name, offset, length, dtype, shape=ir.Shape(shape), name=key)
