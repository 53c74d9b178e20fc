"""The decoder's self-attention cache: static buffers that attention extends in place."""

from typing import Any

import numpy as np

from edgewhisper.artifact import GraphInfo, TensorInfo

from .onnxruntime_import import onnxruntime


class KVCache:
    """Keys and values of every decoder layer for up to `capacity` tokens.

    Past and present are one buffer, so a step copies nothing. Rows beyond the number of tokens are never read, so tokens
    are taken back by lowering that number.
    """

    def __init__(self, graph: GraphInfo) -> None:
        pasts = [info for info in graph.inputs if info.name.startswith("past_") and "_self_" in info.name]
        self._buffers = {
            info.name.removeprefix("past_"): onnxruntime().OrtValue.ortvalue_from_numpy(
                np.zeros(_shape(info), info_type(info))
            )
            for info in pasts
        }
        # The last row takes what a single row is repeated into; see the decoder graph.
        self.capacity = int(pasts[0].shape[2]) - 1

    def bind(self, binding: Any) -> None:
        """Bind every buffer as both past and present."""
        for name, buffer in self._buffers.items():
            binding.bind_ortvalue_input(f"past_{name}", buffer)
            binding.bind_ortvalue_output(f"present_{name}", buffer)


def info_type(info: TensorInfo) -> np.dtype[Any]:
    """The numpy type of a graph's input or output."""
    return np.dtype({"float": "float32", "float16": "float16", "int8": "int8"}[info.dtype])


def _shape(info: TensorInfo) -> tuple[int, ...]:
    return (1, *(int(dim) for dim in info.shape[1:]))
