"""Listens to a source and gives what is said there, utterance by utterance."""

import math
import threading
import time
from collections.abc import Callable, Iterator

from edgewhisper.errors import UsageError

from ..audio import SAMPLE_RATE
from ..options import DecodingOptions
from ..transcriber import Transcriber
from .agreement import LocalAgreement
from .backlog import Backlog, Lost
from .decoding import SpeechDecoder, Understood
from .frames import Speech
from .heard import Dropped, Heard, Partial, Utterance
from .options import ListeningOptions
from .segmenter import Segmenter
from .sources import Block, Source
from .voice_activity import VoiceActivity, voice_activity

PARTIAL_SHARE = 0.5
"""The most of the time that decoding partial text may take."""

LISTENING = DecodingOptions(timestamps=False, temperature=(0.0, 0.4))
"""An utterance fits one window, so that no timestamps are needed; and who speaks waits: one more try where text is unsure, not five."""


class Listener:
    """Iterates over what is said: an `Utterance` for each that has text and, where asked for, a `Partial` as its beginning becomes stable.

    Sound is taken in a thread of its own, so that nothing is missed while an utterance is decoded, which happens in the thread that
    iterates. What waits meanwhile is bounded: of a source that cannot wait the oldest utterances are dropped, each given as a `Dropped`.

    Where decoding as much took less time lately than is left of the pause that ends an utterance, it begins when the pause does. If it
    is none, what was decoded is thrown away.
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
        self._source = source
        self._segmenter = Segmenter(voice or voice_activity(), listening, max_length, is_held)
        self._backlog = Backlog(round(listening.backlog * SAMPLE_RATE))
        self._decoder = SpeechDecoder(transcriber, options)
        self._stopped = threading.Event()
        self._agreement, self._growing = LocalAgreement(), (-1, -1)  # bounds of what is growing
        self._since_shown = 0.0  # seconds of sound
        self._is_partial_shown = False  # of the utterance under way

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
                heard = self._heard(item)
                if heard is not None:
                    yield heard
        finally:
            self._stopped.set()
            self._backlog.close()
            capture.join()

    def _heard(self, item: Speech | Lost) -> Heard | None:
        if isinstance(item, Lost):
            self._is_partial_shown = False
            return Dropped(_seconds(item.start), _seconds(item.end))
        understood = self._decoder.decode(item)
        start = _seconds(item.voice_start)
        if item.ended_by is None:
            stable = self._stable(item, understood)
            self._is_partial_shown |= stable is not None
            return None if stable is None else Partial(start, stable)
        was_shown, self._is_partial_shown = self._is_partial_shown, False
        if not understood.text:
            return Partial(start, "") if was_shown else None
        now = time.monotonic()
        return Utterance(
            start=start,
            end=_seconds(item.voice_end),
            text=understood.text,
            language=understood.language,
            confidence=round(math.exp(understood.avg_logprob), 4),
            avg_logprob=round(understood.avg_logprob, 4),
            no_speech_prob=round(understood.no_speech_prob, 4),
            ended_by=item.ended_by,
            latency=round(now - item.decided_at, 4),
            latency_from_voice=round(now - item.heard_at, 4),
        )

    def _stable(self, under_way: Speech, understood: Understood) -> str | None:
        if self._listening.partial_interval is None or not understood.text:
            return None
        before, self._growing = self._growing, (under_way.start, under_way.end)
        if before == self._growing:
            return None  # the same sound says the same: no agreement of two
        if before[0] != under_way.start:
            self._agreement = LocalAgreement()
        return self._agreement.add(understood.text, understood.language)

    def _capture(self) -> None:
        """What the thread beside does: hear."""
        error: BaseException | None = None
        try:
            try:
                for block in self._source.blocks(self._stopped):
                    self._take(block)
            finally:
                for speech in self._segmenter.flush(time.monotonic()):
                    self._backlog.put(speech, can_wait=True)
        except BaseException as raised:  # for who iterates
            error = raised
        self._backlog.close(error)

    def _take(self, block: Block) -> None:
        """Hear one block of sound."""
        segmenter, now = self._segmenter, time.monotonic()
        was_pausing = segmenter.is_pausing
        spoken = segmenter.flush(now, round(block.missing * SAMPLE_RATE)) if block.missing else []
        for speech in (*spoken, *segmenter.push(block.samples, now)):
            self._backlog.put(speech, self._source.can_wait)
        self._since_shown += len(block.samples) / SAMPLE_RATE
        begins_to_pause = segmenter.is_pausing and not was_pausing
        is_due = self._is_partial_due
        under_way = segmenter.under_way(now) if is_due or begins_to_pause else None
        if under_way is not None and (is_due or self._fits_the_pause(under_way)):
            self._backlog.show(under_way)
            self._since_shown = 0.0

    @property
    def _is_partial_due(self) -> bool:
        interval = self._listening.partial_interval
        if interval is None:
            return False
        return self._since_shown >= max(interval, self._decoder.latest_seconds / PARTIAL_SHARE)

    def _fits_the_pause(self, under_way: Speech) -> bool:
        """Whether decoding takes less time than what is left of a pause that has begun."""
        left = self._listening.end_delay - self._listening.post_roll
        return self._decoder.expected_seconds(len(under_way.samples)) <= left


def _seconds(position: int) -> float:
    return round(position / SAMPLE_RATE, 3)
