"""`tokens.bin`: the bytes of every token, all that text output needs.

Layout, little-endian: the magic, the number of tokens (uint32), the length of each token (uint16), then the tokens' bytes
one after the other. About 0.4 MB for Whisper's 51,865 tokens, read in a millisecond; a tokenizer library would take
35 MB of memory.
"""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from edgewhisper.errors import ArtifactError

MAGIC = b"EWTOKEN1"
_HEADER = struct.Struct("<8sI")


class Vocabulary:
    """Turns token ids into text."""

    def __init__(self, data: bytes, end_of_text: int, source: str) -> None:
        """Take the contents of a `tokens.bin`; `source` names it in errors.

        Raises:
            ArtifactError: not such a file, or truncated.
        """
        magic, count = _HEADER.unpack_from(data) if len(data) >= _HEADER.size else (b"", 0)
        begin = _HEADER.size + 2 * count
        if magic != MAGIC or len(data) < begin:
            raise ArtifactError(f"{source}: damaged, not a token table; build or copy the artifact again")
        lengths = np.frombuffer(data, dtype="<u2", count=count, offset=_HEADER.size)
        self._ends = begin + np.cumsum(lengths, dtype=np.uint32)
        if len(data) != (int(self._ends[-1]) if count else begin):
            raise ArtifactError(
                f"{source}: damaged, the token table is incomplete; build or copy the artifact again"
            )
        self._begin = begin
        self._data = data
        self._end_of_text = end_of_text

    def __len__(self) -> int:
        return len(self._ends)

    def token_bytes(self, token: int) -> bytes:
        """The bytes of one token; a special token's are its literal name."""
        begin = int(self._ends[token - 1]) if token else self._begin
        return self._data[begin : int(self._ends[token])]

    def text(self, tokens: Iterable[int]) -> str:
        """The text of `tokens`; special tokens and timestamps have none. Incomplete UTF-8 becomes U+FFFD."""
        data = b"".join(self.token_bytes(token) for token in tokens if token < self._end_of_text)
        return data.decode(errors="replace")


def read_vocabulary(path: Path, end_of_text: int) -> Vocabulary:
    """Read a `tokens.bin`.

    Raises:
        ArtifactError: it cannot be read or is damaged.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path}: cannot be read ({error.strerror}); build or copy the artifact again"
        ) from None
    return Vocabulary(data, end_of_text, str(path))


def pack_tokens(tokens: Sequence[bytes]) -> bytes:
    """The contents of a `tokens.bin` for tokens in order of their ids, each of at most 65,535 bytes."""
    lengths = np.array([len(token) for token in tokens], dtype="<u2")
    return _HEADER.pack(MAGIC, len(tokens)) + lengths.tobytes() + b"".join(tokens)
