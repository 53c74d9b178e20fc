"""The decoder session: tokens -> logits, over a cache that can be rolled back."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest
from edgewhisper.errors import EdgeWhisperError

from .embedding import TokenEmbedding
from .encoder import CrossKV
from .kv_cache import KVCache
from .onnxruntime_import import onnxruntime
from .session import SessionSettings, create_session, memory_device

# Bindings of up to this many tokens are kept for reuse; longer ones are prompts, which come once per window.
KEPT_TOKENS = 17


class Decoder:
    """Runs `decoder.onnx` for one sequence.

    Tokens may be fed one at a time or several at once: the logits are equal to the bit, where the device computes one row
    like several (see `exactness`) or single rows are repeated.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, settings: SessionSettings, name: str = "decoder"
    ) -> None:
        """Load the graph `name`, the decoder or a draft, and allocate its cache; raises what `create_session` raises."""
        self.graph = graph = manifest.graph(name)
        self.folder, self.settings = folder, settings
        self._session = create_session(folder, graph, settings)
        self._copies_inputs = settings.provider != "cpu"
        self._embedding = TokenEmbedding(folder, graph)
        self._cache = KVCache(graph, memory_device(settings))
        self._steps: dict[tuple[int, int], _Step] = {}
        self._cross: CrossKV | None = None
        self._crossing = [info.name for info in graph.inputs if "_cross_" in info.name]
        self.head_size = int(next(info.shape[-1] for info in graph.outputs if info.name == "logits"))
        """Tokens that a row of logits scores."""
        self.hidden_width = next((int(info.shape[-1]) for info in graph.outputs if info.name == "hidden"), 0)
        """Of `hidden`; 0 of a graph that does not give it."""
        self.hidden: NDArray[np.float32] | None = None
        """What the head read in the last run, [rows of logits, d]; None of a graph that does not give it. Valid until the next run."""
        self.length = 0
        """Tokens in the cache."""
        self.max_length = self._cache.capacity
        """Tokens that the cache can hold."""
        self.repeat_single_rows = False
        """Run a single token as two rows and drop the second: for devices that compute one row differently."""

    @property
    def session(self) -> Any:
        """The `onnxruntime.InferenceSession`."""
        return self._session

    def reset(self, cross: CrossKV) -> None:
        """Start a new sequence over the encoder's output for a window."""
        self._steps.clear()
        self._cross = cross
        self.length = 0

    def release(self) -> None:
        """Let go of the encoder's output, which is tens of megabytes; `reset` comes before the next `run`."""
        self._steps.clear()
        self._cross = None
        self.length = 0

    def rollback(self, length: int) -> None:
        """Forget all but the first `length` tokens; copies nothing."""
        assert 0 <= length <= self.length
        self.length = length

    def run(self, tokens: Sequence[int], logits_from: int = 0) -> NDArray[np.float32]:
        """Append tokens to the sequence.

        Args:
            tokens: S token ids, at least one.
            logits_from: the first token whose following logits are wanted.

        Returns:
            Logits [S - logits_from, vocab]; row i scores the token after `tokens[logits_from + i]`. Valid until the next
            call, and may be written to.

        Raises:
            EdgeWhisperError: more tokens than the cache holds, or no `reset` before.
        """
        count = len(tokens)
        if self._cross is None or self.length + count > self.max_length:
            raise EdgeWhisperError(
                f"cannot decode {count} tokens after {self.length}: the cache holds {self.max_length}"
            )
        if count == 1 and self.repeat_single_rows:
            step = self._step(2, 0)
            logits = step.run([*tokens, *tokens], self.length)[:1]
        else:
            step = self._step(count, logits_from)
            logits = step.run(tokens, self.length)
        self.hidden = None if step.hidden is None else step.hidden[: len(logits)]
        self.length += count
        return logits

    def _step(self, count: int, logits_from: int) -> "_Step":
        assert self._cross is not None
        key = (count, logits_from)
        step = self._steps.get(key)
        if step is None:
            cross = {name: self._cross.values[name] for name in self._crossing}
            step = _Step(
                self._session,
                self._cache,
                cross,
                self._embedding,
                count,
                (logits_from, self.head_size, self.hidden_width),
                self._copies_inputs,
            )
            if count <= KEPT_TOKENS:
                self._steps[key] = step
        return step


class _Step:
    """One binding of the graph's inputs and outputs for a number of tokens; its arrays are ONNX Runtime's memory."""

    def __init__(
        self,
        session: Any,
        cache: KVCache,
        cross: Mapping[str, Any],
        embedding: TokenEmbedding,
        count: int,
        wanted: tuple[int, int, int],
        copies_inputs: bool,
    ) -> None:
        logits_from, width, hidden_width = wanted
        self._session = session
        self._cache = cache
        self._binding = session.io_binding()
        self._embedding = embedding
        self._embedded = np.zeros((1, count, embedding.width), np.float32)
        self._position_ids = np.zeros((1, count), np.int64)
        self._seqlens_k = np.zeros(1, np.int32)
        self._total_length = np.zeros((), np.int32)
        self._logits = np.zeros((1, count - logits_from, width), np.float32)
        self._offsets = np.arange(count)
        self._last_position = cache.capacity - 1
        inputs = {
            "inputs_embeds": self._embedded,
            "position_ids": self._position_ids,
            "seqlens_k": self._seqlens_k,
            "total_sequence_length": self._total_length,
            "logits_from": np.asarray(logits_from, np.int64),
        }
        from_numpy = onnxruntime().OrtValue.ortvalue_from_numpy
        self._inputs = {name: from_numpy(array) for name, array in inputs.items()}
        self._bind_inputs()
        # A provider with memory of its own copies what is bound, there and then.
        self._binds_again = copies_inputs
        for name, value in cross.items():
            self._binding.bind_ortvalue_input(name, value)
        self._binding.bind_ortvalue_output("logits", from_numpy(self._logits))
        self.hidden: NDArray[np.float32] | None = None
        if hidden_width:
            hidden = np.zeros((1, count - logits_from, hidden_width), np.float32)
            self._binding.bind_ortvalue_output("hidden", from_numpy(hidden))
            self.hidden = hidden[0]
        cache.bind(self._binding)

    def _bind_inputs(self) -> None:
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)

    def run(self, tokens: Sequence[int], past: int) -> NDArray[np.float32]:
        total = past + len(tokens)
        self._embedding.rows(tokens, self._embedded[0])
        # A repeated row behind the last token has no position; any will do, as its result is dropped.
        np.minimum(self._offsets + past, self._last_position, out=self._position_ids[0])
        self._seqlens_k[0] = total - 1
        self._total_length[...] = total
        if self._binds_again:
            self._bind_inputs()
        if not self._cache.is_in_place:
            self._cache.bind(self._binding)
        self._session.run_with_iobinding(self._binding)
        self._cache.advance()
        logits: NDArray[np.float32] = self._logits[0]
        return logits
