"""Utterances decoded, the one under way perhaps several times."""

import dataclasses
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..audio import SAMPLE_RATE
from ..options import DecodingOptions, Segment
from ..protocols import Floats
from ..transcriber import Transcriber
from .frames import Speech

_WARM_UP = 0.5  # seconds
_REMEMBERED = 8  # decodings


@dataclass(frozen=True)
class Understood:
    """The text of an utterance and how sure it is; `text` is empty where nothing was said."""

    text: str
    language: str
    avg_logprob: float
    no_speech_prob: float


class SpeechDecoder:
    """Decodes utterances one after the other; the decoding of one that was under way helps with what it has become.

    Attributes:
        latest_seconds: what the last decoding took; 0 before the first.
    """

    def __init__(self, transcriber: Transcriber, options: DecodingOptions) -> None:
        """Decode a moment of silence, as a first time takes longer.

        Raises:
            UsageError: an option that the model does not have.
        """
        self._transcriber, self._options = transcriber, options
        self._bounds = (-1, -1)  # of the latest utterance
        self._understood = Understood("", "", -math.inf, 0.0)
        self._hypothesis: Sequence[int] | None = None
        self.latest_seconds = 0.0
        self._times: tuple[
            tuple[int, float], ...
        ] = ()  # samples and seconds; replaced as a whole, as another thread reads it
        self._transcribe(np.zeros(round(_WARM_UP * SAMPLE_RATE), np.float32), None)

    def expected_seconds(self, samples: int) -> float:
        """What decoding so many samples takes: the least of the last decodings of as many or more, as others may have waited for a
        processor; infinite where there was none."""
        return min((seconds for length, seconds in self._times if length >= samples), default=math.inf)

    def decode(self, speech: Speech) -> Understood:
        """The utterance's text. What was decoded before is not decoded again."""
        bounds = (speech.start, speech.end)
        if bounds == self._bounds:
            return self._understood
        grows = speech.start == self._bounds[0] and self._transcriber.guesses_are_exact
        started = time.monotonic()
        segments, language = self._transcribe(speech.samples, self._hypothesis if grows else None)
        self.latest_seconds = time.monotonic() - started
        self._times = (*self._times, (len(speech.samples), self.latest_seconds))[-_REMEMBERED:]
        self._bounds = bounds
        self._hypothesis = [token for segment in segments for token in segment.tokens]
        self._understood = self._judged(segments, language)
        return self._understood

    def _transcribe(self, samples: Floats, hypothesis: Sequence[int] | None) -> tuple[list[Segment], str]:
        options = dataclasses.replace(self._options, hypothesis=hypothesis)
        segments, info = self._transcriber.transcribe(samples, options, sample_rate=SAMPLE_RATE)
        return list(segments), info.language

    def _judged(self, segments: Sequence[Segment], language: str) -> Understood:
        if not segments:
            return Understood("", language, -math.inf, 0.0)
        weights = [len(segment.tokens) + 1 for segment in segments]
        logprob = float(np.average([segment.avg_logprob for segment in segments], weights=weights))
        text = "".join(segment.text for segment in segments).strip()
        return Understood(
            text=text if all(map(self._is_sure, segments)) else "",
            language=language,
            avg_logprob=logprob,
            no_speech_prob=max(segment.no_speech_prob for segment in segments),
        )

    def _is_sure(self, segment: Segment) -> bool:
        """Whether this is what was said, rather than what a model says of noise.

        openai-whisper drops a window that is both unsure and taken for silence. Here a single sign is enough, after a second try: noise
        that passes for voice comes every day, and who was not understood says it again.
        """
        options = self._options
        limits = (
            (options.no_speech_threshold, segment.no_speech_prob),
            (options.compression_ratio_threshold, segment.compression_ratio),
        )
        if any(most is not None and value > most for most, value in limits):
            return False
        return options.logprob_threshold is None or segment.avg_logprob >= options.logprob_threshold
