"""Tensors that stay in their file until they are asked for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from .checkpoint import Array


@dataclass(frozen=True)
class StoredTensor:
    """One tensor of a checkpoint file.

    Attributes:
        shape: known without reading the values.
        load: gives the values, mapped from the file where the format allows it.
    """

    shape: tuple[int, ...]
    load: Callable[[], Array]


class LazyTensors(Mapping[str, Array]):
    """Name -> array over stored tensors; nothing is kept, each access loads the tensor from its file again."""

    def __init__(self, stored: Mapping[str, StoredTensor]) -> None:
        self._stored = dict(stored)

    def __getitem__(self, name: str) -> Array:
        return self._stored[name].load()

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)
