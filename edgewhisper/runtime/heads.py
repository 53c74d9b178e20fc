"""The session of heads that go on from the decoder's hidden state: a state and a token -> logits and the next state."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest

from .embedding import TokenEmbedding
from .encoder import CrossKV
from .onnxruntime_import import onnxruntime
from .session import SessionSettings, create_session


class Heads:
    """Runs the graph `draft` of kind "heads" for one sequence. It has no cache: the state is all that it goes on from."""

    def __init__(
        self, folder: Path, manifest: Manifest, settings: SessionSettings, name: str = "draft"
    ) -> None:
        """Load the graph; raises what `create_session` raises."""
        graph = manifest.graph(name)
        self._session = create_session(folder, graph, settings)
        self._embedding = TokenEmbedding(folder, graph)
        width = self._embedding.width
        self._crossing = [info.name for info in graph.inputs if "_cross_" in info.name]
        self.head_size = int(next(info.shape[-1] for info in graph.outputs if info.name == "logits"))
        """Tokens that a row of logits scores."""
        self._token, self._state = (np.zeros((1, 1, width), np.float32) for _ in range(2))
        self._next = np.zeros((1, 1, width), np.float32)
        self._logits = np.zeros((1, 1, self.head_size), np.float32)
        from_numpy = onnxruntime().OrtValue.ortvalue_from_numpy
        self._inputs = {"inputs_embeds": from_numpy(self._token), "state": from_numpy(self._state)}
        self._outputs = {"logits": from_numpy(self._logits), "next_state": from_numpy(self._next)}
        self._binds_again = settings.provider != "cpu"  # see `decoder`
        self._binding: Any = None

    def reset(self, cross: CrossKV) -> None:
        """Attend to the encoder's output for a window."""
        self._binding = self._session.io_binding()
        for name in self._crossing:
            self._binding.bind_ortvalue_input(name, cross.values[name])
        self._bind_inputs()
        for name, value in self._outputs.items():
            self._binding.bind_ortvalue_output(name, value)

    def release(self) -> None:
        """Let go of the encoder's output; `reset` comes before the next `run`."""
        self._binding = None

    def begin(self, state: NDArray[np.float32]) -> None:
        """Go on from the decoder's hidden state [d]."""
        self._state[0, 0] = state

    def run(self, token: int) -> NDArray[np.float32]:
        """The token that was said last -> logits [tokens of the head] of the next one; valid until the next call."""
        self._embedding.rows((token,), self._token[0])
        if self._binds_again:
            self._bind_inputs()
        self._session.run_with_iobinding(self._binding)
        self._state[...] = self._next
        logits: NDArray[np.float32] = self._logits[0, 0]
        return logits

    def _bind_inputs(self) -> None:
        for name, value in self._inputs.items():
            self._binding.bind_ortvalue_input(name, value)
