"""whisper.cpp, through pywhispercpp."""

import contextlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgewhisper.runtime.contention import Timing, timed

from .common import check_length

_N_FFT, _SAMPLE_RATE = 400, 16_000  # of every Whisper


class WhisperCpp:
    """whisper.cpp with its own greedy decoding; its encoder computes the cross-attention keys and values too.

    pywhispercpp's class encodes and decodes in one call, so its bindings of whisper.cpp's functions are used directly.
    """

    packages: ClassVar[tuple[str, ...]] = ("pywhispercpp",)

    @staticmethod
    def convert(work: Path, precision: str) -> None:
        from edgewhisper.models.ggml_writer import GGML_KINDS, write_ggml
        from edgewhisper.models.reader import read_checkpoint
        from edgewhisper.runtime.mel import mel_filter_bank

        file = _file(work, precision)
        if not file.exists():
            checkpoint = read_checkpoint(work / "checkpoint")
            filters = mel_filter_bank(checkpoint.dimensions.n_mels, _N_FFT, _SAMPLE_RATE)
            kind = next(kind for kind in GGML_KINDS if kind == precision)
            write_ggml(checkpoint, file, kind, filters)

    def __init__(self, work: Path, precision: str, threads: int) -> None:
        import _pywhispercpp as bindings

        self._bindings: Any = bindings
        self._threads = threads
        settings = bindings.whisper_context_default_params()
        settings.use_gpu = False
        self._context = bindings.whisper_init_from_file_with_params(str(_file(work, precision)), settings)
        greedy = bindings.whisper_sampling_strategy.WHISPER_SAMPLING_GREEDY
        self._options = bindings.whisper_full_default_params(greedy)
        for name, value in {
            "n_threads": threads,
            "language": "en",
            "no_timestamps": True,
            "single_segment": True,
            "temperature_inc": 0.0,  # no fallback: random weights write no plausible text
            "greedy": {"best_of": 1},
            "print_progress": False,
        }.items():
            setattr(self._options, name, value)

    def encode(self, log_mel: NDArray[np.float32]) -> Timing:
        n_mels, frames = log_mel.shape
        self._bindings.whisper_set_mel(self._context, log_mel.ravel(), frames, n_mels)
        with timed() as timing:
            self._bindings.whisper_encode(self._context, 0, self._threads)
        return timing

    def first_step(self) -> None:
        return None

    def decode(self, tokens: int) -> Timing:
        """From the first token's logits on: whisper.cpp encodes the window anew each time."""
        bindings, samples = self._bindings, np.zeros(0, np.float32)
        self._options.max_tokens = max(1, tokens - 1)  # beyond which it stops; 0 would be never
        timings: list[Timing] = []
        with contextlib.ExitStack() as stack:

            def begin(*_: object) -> None:
                if not timings:
                    timings.append(stack.enter_context(timed()))

            bindings.assign_logits_filter_callback(self._options, begin)
            bindings.whisper_full(self._context, self._options, samples, samples.size)
        segments = range(bindings.whisper_full_n_segments(self._context))
        check_length(sum(bindings.whisper_full_n_tokens(self._context, i) for i in segments), tokens)
        return timings[0]

    def step(self, tokens: int) -> None:
        return None


def _file(work: Path, precision: str) -> Path:
    return work / f"ggml-{precision}.bin"
