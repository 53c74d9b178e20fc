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
from .kv_cache import info_type
from .onnxruntime_import import onnxruntime


class Slots:
    """Room for some sequences, each with its keys and values and its length, in the session of a decoder.

    A slot is filled with another sequence while the others go on. All are one step of the graph, which reads its weights once
    for all of them. Sequences lie in the first slots, so that a step is only as large as there are sequences.
    """

    def __init__(self, decoder: Decoder, count: int, positions: int) -> None:
        """Allocate `count` slots for windows of `positions` encoder positions; raises MemoryError, or what ONNX Runtime raises."""
        graph = decoder.graph
        self.count = count
        self._session = decoder.session
        self._gives_hidden = any(info.name == "hidden" for info in graph.outputs)
        self._embedding = TokenEmbedding(decoder.folder, graph)
        self._kept = {
            info.name: np.zeros((count, *_sizes(info.shape[1:], positions)), info_type(info))
            for info in graph.inputs
            if info.name.startswith("past_")
        }
        self._inputs: dict[str, NDArray[Any]] = {
            "inputs_embeds": np.zeros((count, 1, self._embedding.width), np.float32),
            "position_ids": np.zeros((count, 1), np.int64),
            "seqlens_k": np.zeros(count, np.int32),
        }
        self._total_length, self._logits_from = np.zeros((), np.int32), np.zeros((), np.int64)
        self._logits = np.zeros((count, 1, decoder.head_size), np.float32)
        self._bindings: dict[int, Any] = {}

    def fill(self, slot: int, cross: CrossKV) -> None:
        """Copy the encoder's output for a window into a slot."""
        for name, buffer in self._kept.items():
            if "_cross_" in name:
                buffer[slot] = cross.values[name].numpy()[0]

    def move(self, slot: int, to: int) -> None:
        """Move a sequence into another slot."""
        for buffer in self._kept.values():
            buffer[to] = buffer[slot]

    def step(self, tokens: Sequence[int], lengths: Sequence[int]) -> NDArray[np.float32]:
        """Append a token to each of the first sequences.

        Args:
            tokens: of each sequence [S].
            lengths: tokens that each one's cache holds [S].

        Returns:
            Logits [S, vocab] after the tokens; valid until the next call, and may be written to.
        """
        count = len(tokens)
        self._embedding.rows(tokens, self._inputs["inputs_embeds"][:count, 0])
        self._inputs["position_ids"][:count, 0] = lengths
        self._inputs["seqlens_k"][:count] = lengths
        self._total_length[...] = max(lengths) + 1
        if count not in self._bindings:
            self._bindings[count] = self._bind(count)
        self._session.run_with_iobinding(self._bindings[count][0])
        logits: NDArray[np.float32] = self._logits[:count, 0]
        return logits

    def _bind(self, count: int) -> tuple[Any, list[Any]]:
        """A binding of the first slots, and what must live as long."""
        from_numpy = onnxruntime().OrtValue.ortvalue_from_numpy
        binding, values = self._session.io_binding(), []
        arrays = {name: array[:count] for name, array in (self._inputs | self._kept).items()}
        arrays |= {"total_sequence_length": self._total_length, "logits_from": self._logits_from}
        for name, array in arrays.items():
            values.append(from_numpy(array))
            binding.bind_ortvalue_input(name, values[-1])
            if name.startswith("past_") and "_self_" in name:  # attention writes the new rows in place
                binding.bind_ortvalue_output(name.replace("past_", "present_", 1), values[-1])
        values.append(from_numpy(self._logits[:count]))
        binding.bind_ortvalue_output("logits", values[-1])
        if self._gives_hidden:
            binding.bind_output("hidden")
        return binding, values


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
