"""OpenAI's own program, on PyTorch."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.atomic import atomic_file
from edgewhisper.runtime.contention import Timing

from .common import check_length, check_pytorch, split_device, timed_by_pytorch


class OpenAIWhisper:
    """openai-whisper, greedy; its decoder computes the cross-attention keys and values in the first step.

    In fp16, its default on a GPU, weights stay fp32 and are converted for each product.
    """

    packages: ClassVar[tuple[str, ...]] = ("openai-whisper", "torch")

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        """Write the checkpoint under OpenAI's names, as a .pt file."""
        import torch

        from edgewhisper.models.openai_names import openai_name
        from edgewhisper.models.reader import read_checkpoint

        if openai_file(work).exists():
            return
        checkpoint = read_checkpoint(work / "checkpoint")
        dims = checkpoint.dimensions
        content = {
            "dims": {
                "n_mels": dims.n_mels,
                "n_vocab": dims.vocab_size,
                "n_audio_ctx": dims.max_source_positions,
                "n_audio_state": dims.d_model,
                "n_audio_head": dims.encoder_heads,
                "n_audio_layer": dims.encoder_layers,
                "n_text_ctx": dims.max_target_positions,
                "n_text_state": dims.d_model,
                "n_text_head": dims.decoder_heads,
                "n_text_layer": dims.decoder_layers,
            },
            "model_state_dict": {
                openai_name(name): torch.from_numpy(np.array(tensor))
                for name, tensor in checkpoint.tensors.items()
            },
        }
        with atomic_file(openai_file(work)) as temporary:
            torch.save(content, temporary)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        import torch
        import whisper

        own, self._device = split_device(precision)
        check_pytorch(self._device)
        self._half = own == "fp16"
        torch.set_num_threads(threads)
        self._model: Any = whisper.load_model(str(openai_file(work)), device=self._device)

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        import torch

        features = torch.from_numpy(log_mel)[None]
        self._states: Any = None
        with torch.inference_mode(), timed_by_pytorch(self._device) as timing:
            features = features.to(self._device, torch.float16 if self._half else torch.float32)
            self._states = self._model.encoder(features)
        return timing

    def first_step(self) -> Timing:
        return self.decode(1)

    def decode(self, tokens: int) -> Timing:
        import torch
        import whisper

        options = whisper.DecodingOptions(
            language="en", without_timestamps=True, sample_len=tokens, fp16=self._half
        )
        with torch.inference_mode(), timed_by_pytorch(self._device) as timing:
            (result,) = whisper.decode(self._model, self._states, options)
        check_length(len(result.tokens), tokens)
        return timing

    def step(self, tokens: int) -> None:
        return None


def openai_file(work: Path) -> Path:
    """Where the .pt file lies."""
    return work / "openai.pt"
