"""The encoder session: one window of log-mel frames -> the decoder's cross-attention keys and values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest

from .session import SessionSettings, create_session, memory_device


@dataclass(frozen=True)
class CrossKV:
    """Cross-attention keys and values of one window, in the memory of the device that runs the graphs.

    Attributes:
        values: decoder input name -> OrtValue [B, heads, positions, head_dim].
        log_mel: the window's frames [B, n_mels, frames], for a draft with an encoder of its own.
    """

    values: Mapping[str, Any]
    log_mel: NDArray[np.float32] | None = None


class Encoder:
    """Runs `encoder.onnx`."""

    def __init__(
        self, folder: Path, manifest: Manifest, settings: SessionSettings, name: str = "encoder"
    ) -> None:
        """Load the graph `name`, the encoder or a draft's; raises what `create_session` raises."""
        graph = manifest.graph(name)
        self._session = create_session(folder, graph, settings)
        self._device = memory_device(settings)
        self._outputs = [output.name for output in graph.outputs]

    def run(self, log_mel: NDArray[np.float32]) -> CrossKV:
        """Encode a window.

        Args:
            log_mel: [n_mels, frames], or [B, n_mels, frames] for a batch; an even number of frames, at most one window.
        """
        batch = np.ascontiguousarray(log_mel if log_mel.ndim == 3 else log_mel[None], np.float32)
        binding = self._session.io_binding()
        binding.bind_cpu_input("audio_features", batch)
        for name in self._outputs:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding)
        values = zip(self._outputs, binding.get_outputs(), strict=True)
        return CrossKV({name.replace("present_", "past_", 1): value for name, value in values}, batch)
