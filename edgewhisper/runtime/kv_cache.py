"""The decoder's self-attention cache: static buffers that attention extends in place."""

from typing import Any

import numpy as np

from edgewhisper.artifact import GraphInfo, TensorInfo

from .onnxruntime_import import onnxruntime


class KVCache:
    """Keys and values of every decoder layer for up to `capacity` tokens.

    A fused graph's past and present are one buffer, so a step copies nothing. A portable graph reads the past and writes the
    present as the ONNX standard has it, into two buffers that change places after each step. Rows beyond the number of
    tokens are never read, so tokens are taken back by lowering that number.
    """

    def __init__(self, graph: GraphInfo, device: str = "cpu") -> None:
        """Allocate the buffers in the memory of `device`, "cpu" or "cuda"."""
        pasts = [info for info in graph.inputs if info.name.startswith("past_") and "_self_" in info.name]
        self._past = _buffers(pasts, device)
        self.is_in_place = graph.ops == "fused"
        """Whether past and present are one buffer, which is bound once."""
        self._present = self._past if self.is_in_place else _buffers(pasts, device)
        # The last row takes what a single row is repeated into; see the decoder graph.
        self.capacity = int(pasts[0].shape[2]) - 1

    def bind(self, binding: Any) -> None:
        """Bind every buffer as past, as present, or as both."""
        for name, buffer in self._past.items():
            binding.bind_ortvalue_input(f"past_{name}", buffer)
        for name, buffer in self._present.items():
            binding.bind_ortvalue_output(f"present_{name}", buffer)

    def advance(self) -> None:
        """What a step wrote becomes the past of the next one, which is bound again where that is another buffer."""
        self._past, self._present = self._present, self._past


def info_type(info: TensorInfo) -> np.dtype[Any]:
    """The numpy type of a graph's input or output."""
    return np.dtype({"float": "float32", "float16": "float16", "int8": "int8"}[info.dtype])


def _buffers(pasts: list[TensorInfo], device: str) -> dict[str, Any]:
    from_numpy = onnxruntime().OrtValue.ortvalue_from_numpy
    return {
        info.name.removeprefix("past_"): from_numpy(np.zeros(_shape(info), info_type(info)), device, 0)
        for info in pasts
    }


def _shape(info: TensorInfo) -> tuple[int, ...]:
    return (1, *(int(dim) for dim in info.shape[1:]))
