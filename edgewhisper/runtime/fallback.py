"""Decoding one window with openai-whisper's safeguards: temperature fallback and the no-speech rule."""

import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewhisper.artifact import AudioSettings

from .decoding import Decoded, DecodingLoop, Prefilled
from .options import DecodingOptions, Statistics
from .protocols import CrossKV
from .short_window import is_too_fast
from .vocabulary import Vocabulary


@dataclass(frozen=True)
class WindowText:
    """A window's decoding as accepted."""

    decoded: Decoded
    compression_ratio: float
    is_silent: bool  # the no-speech rule says that nothing was spoken: the tokens are to be dropped


class FallbackDecoder:
    """Repeats a window at higher temperatures while its text is repetitive or unsure (openai-whisper, transcribe.py)."""

    def __init__(
        self,
        loop: DecodingLoop,
        vocabulary: Vocabulary,
        audio: AudioSettings,
        options: DecodingOptions,
        statistics: Statistics,
    ) -> None:
        self._loop = loop
        self._vocabulary = vocabulary
        self._audio = audio
        self._options = options
        self._statistics = statistics

    def decode(self, cross: CrossKV, prompt: Sequence[int], first: Decoded | None = None) -> WindowText:
        """Decode a window after `prompt`; the last temperature's result stands, whatever it is.

        `first` is what the first temperature gave, where somebody else has decoded it.
        """
        prefilled: Prefilled | None = None
        temperatures = self._options.temperatures
        for attempt, temperature in enumerate(temperatures, start=1):
            if attempt == 1 and first is not None:
                decoded = first
            else:
                prefilled = prefilled or self._loop.prefill(cross, prompt)
                decoded = self._loop.run(prefilled, temperature, self._generator if temperature > 0 else None)
            ratio = compression_ratio(self._vocabulary.text(decoded.tokens))
            if attempt == len(temperatures) or not self._needs_fallback(decoded, ratio):
                break
            self._statistics.fallbacks += 1
        return WindowText(decoded, ratio, is_silent=self._is_silent(decoded))

    def decode_short(self, cross: CrossKV, prompt: Sequence[int], frames: int) -> WindowText | None:
        """Decode a window of which a part was encoded, `frames` frames of it audio; None where the text may be wrong.

        A full window may have another text than one that never ended, repeats itself or is unsure, that nobody says as fast, or that is
        taken for silence.
        """
        temperature = self._options.temperatures[0]
        generator = self._generator if temperature > 0 else None
        decoded = self._loop.run(self._loop.prefill(cross, prompt), temperature, generator)
        ratio = compression_ratio(self._vocabulary.text(decoded.tokens))
        doubtful = (
            not decoded.is_complete
            or is_too_fast(len(decoded.tokens), frames, self._audio)
            or self._is_repetitive(ratio)
            or self._is_unsure(decoded)
            or self._passes_for_silence(decoded)
        )
        return None if doubtful else WindowText(decoded, ratio, is_silent=False)

    def is_unsure(self, first: Decoded) -> bool:
        """Whether the outcome of the first temperature is not the last word."""
        ratio = compression_ratio(self._vocabulary.text(first.tokens))
        return len(self._options.temperatures) > 1 and self._needs_fallback(first, ratio)

    def release(self) -> None:
        """Let go of the window."""
        self._loop.release()

    @functools.cached_property
    def _generator(self) -> "np.random.Generator":
        """Made when it is needed: NumPy loads its random numbers then, 3 MB that greedy decoding never needs."""
        return np.random.default_rng(self._options.seed)

    def _needs_fallback(self, decoded: Decoded, ratio: float) -> bool:
        unsure = self._is_unsure(decoded)
        if unsure and self._passes_for_silence(decoded):
            return False
        return unsure or self._is_repetitive(ratio)

    def _is_unsure(self, decoded: Decoded) -> bool:
        threshold = self._options.logprob_threshold
        return threshold is not None and decoded.avg_logprob < threshold

    def _passes_for_silence(self, decoded: Decoded) -> bool:
        threshold = self._options.no_speech_threshold
        return threshold is not None and decoded.no_speech_prob > threshold

    def _is_repetitive(self, ratio: float) -> bool:
        threshold = self._options.compression_ratio_threshold
        return threshold is not None and ratio > threshold

    def _is_silent(self, decoded: Decoded) -> bool:
        options = self._options
        if not self._passes_for_silence(decoded):
            return False
        return options.logprob_threshold is None or decoded.avg_logprob <= options.logprob_threshold


def compression_ratio(text: str) -> float:
    """Bytes of the text over bytes of it compressed: repetition compresses well. 0 for no text."""
    data = text.strip().encode()
    return len(data) / len(zlib.compress(data))
