"""Several sequences in one decoder: a token of each per step."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import GraphInfo, ModelDimensions

from .decoder import Decoder
from .embedding import TokenEmbedding
from .encoder import CrossKV
from .kv_cache import KVCache, info_type
from .onnxruntime_import import onnxruntime


class Slots:
    """Room for some sequences, each with its keys and values and its length, in the session of a decoder.

    A slot is filled with another sequence while the others go on. All are one step of the graph, which reads its weights once
    for all of them. Slots that are not in use cost next to nothing.
    """

    def __init__(self, decoder: Decoder, count: int, positions: int) -> None:
        """Allocate `count` slots for windows of `positions` encoder positions; raises MemoryError, or what ONNX Runtime raises."""
        graph = decoder.graph
        self.count = count
        self._session = decoder.session
        self._embedding = TokenEmbedding(decoder.folder, graph)
        self._cache = KVCache(graph, sequences=count)
        self._embedded = np.zeros((count, 1, self._embedding.width), np.float32)
        self._position_ids = np.zeros((count, 1), np.int64)
        self._seqlens_k = np.zeros(count, np.int32)
        self._total_length = np.zeros((), np.int32)
        self._logits = np.zeros((count, 1, decoder.head_size), np.float32)
        self._cross = {
            info.name: np.zeros((count, *_sizes(info.shape[1:], positions)), info_type(info))
            for info in graph.inputs
            if "_cross_" in info.name
        }
        inputs = {
            "inputs_embeds": self._embedded, "position_ids": self._position_ids, "seqlens_k": self._seqlens_k,
            "total_sequence_length": self._total_length, "logits_from": np.zeros((), np.int64), **self._cross,
        }  # fmt: skip
        from_numpy = onnxruntime().OrtValue.ortvalue_from_numpy
        self._binding: Any = self._session.io_binding()
        self._values = {name: from_numpy(array) for name, array in inputs.items()}
        for name, value in self._values.items():
            self._binding.bind_ortvalue_input(name, value)
        self._binding.bind_ortvalue_output("logits", from_numpy(self._logits))
        if any(info.name == "hidden" for info in graph.outputs):
            self._binding.bind_output("hidden")
        self._cache.bind(self._binding)

    def fill(self, slot: int, cross: CrossKV) -> None:
        """Copy the encoder's output for a window into a slot."""
        for name, buffer in self._cross.items():
            buffer[slot] = cross.values[name].numpy()[0]

    def cross(self, slot: int) -> CrossKV:
        """A copy of what a slot was filled with."""
        from_numpy = onnxruntime().OrtValue.ortvalue_from_numpy
        return CrossKV(
            {name: from_numpy(buffer[slot : slot + 1].copy()) for name, buffer in self._cross.items()}
        )

    def step(self, tokens: Sequence[int], lengths: Sequence[int]) -> NDArray[np.float32]:
        """Append a token to each slot's sequence.

        Args:
            tokens: of each slot; any where it is not in use.
            lengths: tokens that each slot's cache holds, 0 where it is not in use.

        Returns:
            Logits [count, vocab] after the tokens; valid until the next call, and may be written to.
        """
        self._embedding.rows(tokens, self._embedded[:, 0])
        self._position_ids[:, 0] = lengths
        self._seqlens_k[:] = lengths
        self._total_length[...] = max(lengths) + 1
        self._session.run_with_iobinding(self._binding)
        logits: NDArray[np.float32] = self._logits[:, 0]
        return logits


def slot_bytes(graph: GraphInfo, dimensions: ModelDimensions) -> int:
    """What a slot takes, about: caches, keys and values of the encoder, and a row of logits."""
    kept = [info for info in graph.inputs if info.name.startswith("past_")]
    sizes = [
        math.prod(_sizes(info.shape[1:], dimensions.max_source_positions)) * info_type(info).itemsize
        for info in kept
    ]
    return sum(sizes) + 8 * dimensions.vocab_size


def _sizes(shape: Sequence[int | str], positions: int) -> tuple[int, ...]:
    return tuple(size if isinstance(size, int) else positions for size in shape)
