"""The rows of the token embedding, read from the weights file when a token needs them.

The table is a third of tiny's weights. Mapped into memory it becomes resident page by page (65 MB after 200 tokens of
tiny.en), beside the copy that the output head needs; read row by row it costs two microseconds a token.

The table lies in the file as the output head wants it, which shares it:

    float, float16   [vocab_size, width]               as they are
    int8             [vocab_size, width]               times a scale per row: scales [vocab_size] or [vocab_size, 1]
    uint8, uint4     [vocab_size, blocks, block_size]  less 128 or 8, times a scale per block: scales [vocab_size, blocks]

The last form is MatMulNBits' (two uint4 in a byte, the first in its low half); a row is filled up to whole blocks.
"""

import math
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import GraphInfo, TensorLocation
from edgewhisper.errors import ArtifactError, IntegrityError

_FLOATS = {"float": np.float32, "float16": np.float16}
_STORED = _FLOATS | {"int8": np.int8, "uint8": np.uint8, "uint4": np.uint8}
_ZERO_POINTS = {"uint8": 128, "uint4": 8}  # those that MatMulNBits takes where none are given


class TokenEmbedding:
    """Token ids -> rows of a table [vocab_size, width] in a file."""

    def __init__(self, folder: Path, graph: GraphInfo) -> None:
        """Open the files of the table from which `graph` takes its input `inputs_embeds`.

        Raises:
            ArtifactError: the manifest describes no table, a file cannot be read, or is too short for the table.
        """
        location, scales = graph.embedding, graph.embedding_scales
        width = next((info.shape[-1] for info in graph.inputs if info.name == "inputs_embeds"), 0)
        if location is None or not isinstance(width, int) or not _is_table(location, scales, width):
            where = folder / (graph.file if location is None else location.file)
            raise ArtifactError(
                f"{where}: the manifest describes no readable embedding table; build the artifact again"
            )
        self.vocab_size, self.width = location.shape[0], width
        self._values = _Rows(folder, location)
        self._scales = None if scales is None else _Rows(folder, scales)
        self._dtype = location.dtype
        self._zero_point = _ZERO_POINTS.get(location.dtype, 0)

    def rows(self, tokens: Sequence[int], out: NDArray[np.float32]) -> None:
        """Write the rows of `tokens` into `out` [len(tokens), width].

        Raises:
            IntegrityError: the file has become shorter.
        """
        for token, row in zip(tokens, out, strict=True):
            values = self._values.read(token)
            if self._scales is None:
                row[:] = values
            elif self._dtype == "int8":
                np.multiply(values, self._scales.read(token), out=row)
            else:
                blocks = self._unpacked(values).astype(np.float32) - self._zero_point
                row[:] = (blocks * self._scales.read(token)[:, None]).reshape(-1)[: self.width]

    def _unpacked(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self._dtype == "uint8":
            return values
        return np.stack([values & 15, values >> 4], axis=-1).reshape(len(values), -1)


class _Rows:
    """A tensor in a file, of which one row at a time is read."""

    def __init__(self, folder: Path, location: TensorLocation) -> None:
        path = folder / location.file
        count, shape = location.shape[0], location.shape[1:]
        dtype = np.dtype(_STORED[location.dtype])
        if location.dtype == "uint4":
            shape = (*shape[:-1], shape[-1] // 2)
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
        weakref.finalize(self, self._file.close)
        if (
            location.offset + count * math.prod(shape) * dtype.itemsize
            > os.fstat(self._file.fileno()).st_size
        ):
            raise ArtifactError(
                f"{path}: too short for the embedding table; build or copy the artifact again"
            )
        self._offset = location.offset
        self._row: NDArray[Any] = np.empty(shape or 1, dtype)
        self._row_bytes = self._row.reshape(-1).view(np.uint8).data

    def read(self, index: int) -> NDArray[Any]:
        """Row `index`; valid until the next call."""
        self._file.seek(self._offset + index * self._row.nbytes)
        if self._file.readinto(self._row_bytes) != self._row.nbytes:
            raise IntegrityError(f"{self._file.name}: cut off while in use; build or copy the artifact again")
        return self._row


def _is_table(values: TensorLocation, scales: TensorLocation | None, width: int) -> bool:
    """Whether values and scales have one of the forms that can be read."""
    if width < 1 or any(min(x.shape, default=0) < 1 or x.offset < 0 for x in (values, scales) if x):
        return False
    vocab_size = values.shape[0]
    if values.dtype in _FLOATS:
        return scales is None and values.shape == (vocab_size, width)
    if scales is None or scales.dtype not in _FLOATS:
        return False
    if values.dtype == "int8":
        return values.shape == (vocab_size, width) and scales.shape in ((vocab_size,), (vocab_size, 1))
    if values.dtype not in _ZERO_POINTS or len(values.shape) != 3:
        return False
    _, blocks, block_size = values.shape
    needed = -(-width // block_size)
    return blocks == needed and block_size % 2 == 0 and scales.shape == (vocab_size, blocks)
