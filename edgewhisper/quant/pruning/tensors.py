"""A checkpoint's tensors with some of them cut down when they are read."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from edgewhisper.models.checkpoint import Array

Derivation = Callable[[Array], Array]


class DerivedTensors(Mapping[str, Array]):
    """Name -> array; nothing is kept, a derived tensor is computed anew at each access."""

    def __init__(self, tensors: Mapping[str, Array], derivations: Mapping[str, Derivation]) -> None:
        """Take the tensors and what is made of those that change; every name in `derivations` is in `tensors`."""
        assert derivations.keys() <= tensors.keys()
        self._tensors = tensors
        self._derivations = dict(derivations)

    def __getitem__(self, name: str) -> Array:
        array = self._tensors[name]
        return self._derivations[name](array) if name in self._derivations else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def take_rows(rows: NDArray[np.intp]) -> Derivation:
    """Makes an array of some of its rows."""
    return lambda array: np.asarray(array)[rows]


def constant(replacement: Array) -> Derivation:
    """Puts another array in the place of a tensor."""
    return lambda _: replacement
