"""Number formats per target: what its INT8 instructions multiply without loss."""

from dataclasses import dataclass

import numpy as np

from edgewhisper.errors import UsageError


@dataclass(frozen=True)
class NumberFormats:
    """How INT8 products are written for a target.

    Attributes:
        activation: uint8 on x86, whose instructions multiply uint8 by int8 (signed activations take a slow path there); int8 on Arm.
        weight_limit: the largest weight; 63 where two products are added in 16 bits and would saturate (AVX2 without VNNI).
    """

    activation: type[np.uint8] | type[np.int8]
    weight_limit: int


_FORMATS = {
    "x86-vnni": NumberFormats(np.uint8, 127),
    "x86-avx2": NumberFormats(np.uint8, 63),
    "arm64": NumberFormats(np.int8, 127),
}


def number_formats(target: str) -> NumberFormats:
    """The formats for `target`.

    Raises:
        UsageError: a target without INT8 products in this project, "cuda" for one.
    """
    if target not in _FORMATS:
        raise UsageError(
            f"target '{target}': has no INT8 graphs; take one of {', '.join(_FORMATS)}, or another precision"
        )
    return _FORMATS[target]
