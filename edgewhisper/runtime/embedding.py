"""The rows of the token embedding, read from the weights file when a token needs them.

The table is a third of tiny's weights. Mapped into memory it becomes resident page by page (65 MB after 200 tokens of
tiny.en), beside the copy that the output head needs; read row by row it costs two microseconds a token.
"""

import math
import os
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import TensorLocation
from edgewhisper.errors import ArtifactError, IntegrityError

_DTYPES = {"float": np.float32, "float16": np.float16}


class TokenEmbedding:
    """Token ids -> rows of a table [vocab_size, width] in a file."""

    def __init__(self, folder: Path, location: TensorLocation) -> None:
        """Open the file.

        Raises:
            ArtifactError: the file cannot be read, or does not hold the table that the manifest describes.
        """
        path = folder / location.file
        if (
            location.dtype not in _DTYPES
            or len(location.shape) != 2
            or min(location.shape) < 1
            or location.offset < 0
        ):
            raise ArtifactError(
                f"{path}: the manifest describes no readable embedding table; build the artifact again"
            )
        dtype = np.dtype(_DTYPES[location.dtype])
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
        weakref.finalize(self, self._file.close)
        if (
            location.offset + math.prod(location.shape) * dtype.itemsize
            > os.fstat(self._file.fileno()).st_size
        ):
            raise ArtifactError(
                f"{path}: too short for the embedding table; build or copy the artifact again"
            )
        self._offset = location.offset
        self.vocab_size, self.width = location.shape
        self._row: NDArray[Any] = np.empty(location.shape[1], dtype)
        self._row_bytes = self._row.view(np.uint8).data

    def rows(self, tokens: Sequence[int], out: NDArray[np.float32]) -> None:
        """Write the rows of `tokens` into `out` [len(tokens), width].

        Raises:
            IntegrityError: the file has become shorter.
        """
        for token, row in zip(tokens, out, strict=True):
            self._file.seek(self._offset + token * self._row.nbytes)
            if self._file.readinto(self._row_bytes) != self._row.nbytes:
                raise IntegrityError(
                    f"{self._file.name}: cut off while in use; build or copy the artifact again"
                )
            row[:] = self._row
