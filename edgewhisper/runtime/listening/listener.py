"""Listens to a source and gives what is said there, utterance by utterance."""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edgewhisper.errors import UsageError

from ..audio import SAMPLE_RATE
from ..options import DecodingOptions, Segment
from ..protocols import Floats
from ..transcriber import Transcriber
from .agreement import LocalAgreement
from .backlog import Backlog, Lost
from .frames import Speech
from .heard import Dropped, Heard, Partial, Utterance
from .options import ListeningOptions
from .segmenter import Segmenter
from .sources import Source
from .voice_activity import VoiceActivity, voice_activity

LISTENING = DecodingOptions(timestamps=False, temperature=(0.0, 0.4))
"""An utterance fits one window, so that no timestamps are needed; and who speaks waits: one more try where text is unsure, not five."""

_WARM_UP = 0.5  # seconds


class Listener:
    """Iterates over what is said: an `Utterance` for each that has text and, where asked for, a `Partial` as its beginning becomes stable.

    Sound is taken in a thread of its own, so that nothing is missed while an utterance is decoded, which happens in the thread that
    iterates. What waits meanwhile is bounded: of a source that cannot wait the oldest utterances are dropped, each given as a `Dropped`.
    """

    def __init__(
        self,
        transcriber: Transcriber,
        source: Source,
        options: DecodingOptions = LISTENING,
        listening: ListeningOptions | None = None,
        *,
        voice: VoiceActivity | None = None,
        is_held: Callable[[], bool] | None = None,
    ) -> None:
        """Prepare to listen: a moment of silence is decoded, as a first time takes longer.

        Args:
            transcriber: the loaded artifact.
            source: a microphone, a pipe or a recording, see `listening.microphone` and `listening.sources`.
            options: how utterances are decoded.
            listening: how they are told from each other.
            voice: the voice activity detector; None is Silero's where it is installed.
            is_held: whether a key is held, or was struck once: push-to-talk. None: voice begins an utterance and a pause ends it.

        Raises:
            UsageError: an option that the model does not have, or utterances longer than its window.
        """
        settings = transcriber.manifest.audio
        window = settings.n_frames * settings.hop_length / settings.sample_rate
        self._listening = listening = listening or ListeningOptions()
        max_length = window if listening.max_length is None else listening.max_length
        if max_length > window:
            raise UsageError(
                f"max_length {max_length:g}: the model's window is {window:g} seconds, take no more"
            )
        self._transcriber, self._source, self._options = transcriber, source, options
        self._segmenter = Segmenter(voice or voice_activity(), listening, max_length, is_held)
        self._backlog = Backlog(round(listening.backlog * SAMPLE_RATE))
        self._stopped = threading.Event()
        self._agreement, self._begun = LocalAgreement(), -1
        self._hypothesis: Sequence[int] | None = None
        self._decode(np.zeros(round(_WARM_UP * SAMPLE_RATE), np.float32), None)

    def stop(self) -> None:
        """End: what is being said is still decoded, and the iteration ends after it. From any thread, or a signal handler."""
        self._stopped.set()

    def __iter__(self) -> Iterator[Heard]:
        """Listen, once.

        Raises:
            AudioError: from the source.
        """
        capture = threading.Thread(target=self._capture, name="edgewhisper-listening", daemon=True)
        capture.start()
        try:
            while (item := self._backlog.get()) is not None:
                heard = self._understood(item)
                if heard is not None:
                    yield heard
        finally:
            self._stopped.set()
            self._backlog.close()
            capture.join()

    def _understood(self, item: Speech | Lost) -> Heard | None:
        if isinstance(item, Lost):
            return Dropped(_seconds(item.start), _seconds(item.end))
        if item.start != self._begun:
            self._agreement, self._hypothesis, self._begun = LocalAgreement(), None, item.start
        segments, language = self._decode(item.samples, self._hypothesis)
        text = "".join(segment.text for segment in segments).strip()
        if not text or not all(map(self._is_sure, segments)):
            return None
        start = _seconds(item.voice_start)
        if item.ended_by is None:
            if self._transcriber.guesses_are_exact:
                self._hypothesis = [token for segment in segments for token in segment.tokens]
            stable = self._agreement.add(text)
            return None if stable is None else Partial(start, stable)
        now = time.monotonic()
        weights = [len(segment.tokens) + 1 for segment in segments]
        logprob = float(np.average([segment.avg_logprob for segment in segments], weights=weights))
        return Utterance(
            start=start,
            end=_seconds(item.voice_end),
            text=text,
            language=language,
            confidence=round(math.exp(logprob), 4),
            avg_logprob=round(logprob, 4),
            no_speech_prob=round(max(segment.no_speech_prob for segment in segments), 4),
            ended_by=item.ended_by,
            latency=round(now - item.decided_at, 4),
            latency_from_voice=round(now - item.heard_at, 4),
        )

    def _decode(self, samples: Floats, hypothesis: Sequence[int] | None) -> tuple[list[Segment], str]:
        options = dataclasses.replace(self._options, hypothesis=hypothesis)
        segments, info = self._transcriber.transcribe(samples, options, sample_rate=SAMPLE_RATE)
        return list(segments), info.language

    def _is_sure(self, segment: Segment) -> bool:
        """Whether this is what was said, rather than what a model says of noise.

        After openai-whisper's rule, which wants a window to be both unsure and taken for silence, and a second try: for what passed as
        voice a single sign is enough.
        """
        options = self._options
        checks = (
            (options.no_speech_threshold, segment.no_speech_prob),
            (options.compression_ratio_threshold, segment.compression_ratio),
        )
        if any(threshold is not None and value > threshold for threshold, value in checks):
            return False
        return options.logprob_threshold is None or segment.avg_logprob >= options.logprob_threshold

    def _capture(self) -> None:
        """What the thread beside does: hear."""
        segmenter, backlog, can_wait = self._segmenter, self._backlog, self._source.can_wait
        interval, since_shown = self._listening.partial_interval, 0.0
        try:
            for block in self._source.blocks(self._stopped):
                now = time.monotonic()
                spoken = segmenter.flush(now, round(block.missing * SAMPLE_RATE)) if block.missing else []
                for speech in (*spoken, *segmenter.push(block.samples, now)):
                    backlog.put(speech, can_wait)
                since_shown += len(block.samples) / SAMPLE_RATE
                if interval is not None and since_shown >= interval:
                    under_way = segmenter.under_way(now)
                    if under_way is not None:
                        backlog.show(under_way)
                        since_shown = 0.0
            for speech in segmenter.flush(time.monotonic()):
                backlog.put(speech, can_wait=True)
        except BaseException as error:  # raised where somebody sees it
            for speech in segmenter.flush(time.monotonic()):
                backlog.put(speech, can_wait=True)
            backlog.close(error)
        backlog.close()


def _seconds(position: int) -> float:
    return round(position / SAMPLE_RATE, 3)
