"""sherpa-onnx, on graphs of the layout that it reads."""

import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.atomic import atomic_folder
from edgewhisper.runtime.contention import Timing, timed

from .common import check_length
from .openai_whisper import OpenAIWhisper, openai_file

_WINDOW = 3000  # frames, to which it pads what it hears
_FRAMES_A_SECOND, _SAMPLES_A_FRAME = 100, 160
_TOKENS_A_SECOND = 6  # of sound: it writes no more than that
_LOUDNESS = 0.1


class SherpaOnnx:
    """sherpa-onnx in fp32, or with dynamically quantized matrices as its published models are.

    It encodes and decodes in one call. A recording too short for a token gives the time of the encoder, with the prompt's
    step in it; a longer one, which may have `tokens` tokens, that of both. Log-mel frames are its own, of noise, and are
    computed before time is taken.
    """

    packages: ClassVar[tuple[str, ...]] = ("sherpa-onnx",)

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        from edgewhisper.models.reader import read_checkpoint

        from .sherpa_graphs import quantize_graphs, write_graphs

        folder = _folder(work, "fp32")
        if not folder.exists():
            OpenAIWhisper.convert(work, "fp32")
            with atomic_folder(folder) as temporary:
                write_graphs(openai_file(work), read_checkpoint(work / "checkpoint"), temporary)
        if not _folder(work, precision).exists():
            with atomic_folder(_folder(work, precision)) as temporary:
                quantize_graphs(folder, temporary)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        import sherpa_onnx

        folder = _folder(work, precision)
        self._recognizer: Any = sherpa_onnx.OfflineRecognizer.from_whisper(
            encoder=str(folder / "encoder.onnx"),
            decoder=str(folder / "decoder.onnx"),
            tokens=str(folder / "tokens.txt"),
            language="en",
            num_threads=threads,
            tail_paddings=_WINDOW,
        )
        self._encoding = 0.0  # seconds

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        timing = self._run(0)
        self._encoding = timing.seconds
        return timing

    def first_step(self) -> None:
        return None

    def decode(self, tokens: int) -> Timing:
        timing = self._run(tokens)
        timing.seconds = max(0.0, timing.seconds - self._encoding)
        return timing

    def step(self, tokens: int) -> None:
        return None

    def _run(self, tokens: int) -> Timing:
        """A window of which the sound is as long as `tokens` need, the rest silence."""
        frames = math.ceil((tokens + 0.01) * _FRAMES_A_SECOND / _TOKENS_A_SECOND)
        noise = np.random.default_rng(0).standard_normal(frames * _SAMPLES_A_FRAME, np.float32)
        stream = self._recognizer.create_stream()
        stream.accept_waveform(_FRAMES_A_SECOND * _SAMPLES_A_FRAME, noise * np.float32(_LOUDNESS))
        with timed() as timing:
            self._recognizer.decode_stream(stream)
        check_length(len(stream.result.tokens), tokens)
        return timing


def _folder(work: Path, precision: str) -> Path:
    return work / f"sherpa-onnx-{precision}"
