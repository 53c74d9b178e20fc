"""One recording on its way to text."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from edgewhisper.artifact import AudioSettings, ModelDimensions, TokenIds

from .decoding import Decoded, DecodingLoop
from .fallback import FallbackDecoder, WindowText
from .language import detect_language, language_code
from .longform import TimedTokens, WindowReader, WindowSegments, seconds_per_frame, split_window
from .options import DecodingOptions, Segment, Statistics, TranscriptionInfo
from .prompt import Context, previous_text_limit, start_sequence
from .protocols import CrossKV, Decoder, Encoder, FeatureSource, Floats
from .rules import rules_for
from .short_window import LEAST, SURE_LANGUAGE, ends_in_doubt, frames_to_encode
from .speculation.speculation import DraftSource, speculation_for
from .vocabulary import Vocabulary


def _no_draft(although_inexact: bool) -> None:
    return None


@dataclass(frozen=True)
class Model:
    """A loaded Whisper: what turns log-mel frames into text."""

    encoder: Encoder
    decoder: Decoder
    vocabulary: Vocabulary
    dimensions: ModelDimensions
    tokens: TokenIds
    audio: AudioSettings
    short_windows: bool = False  # `Manifest.model.short_windows`: how sure its texts of them are, is known
    load_draft: DraftSource = _no_draft  # called under the lock; what it measures takes the decoder
    # Held for one window: the decoder has one cache.
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(eq=False)
class Window:
    """A window to be decoded.

    Attributes:
        frame: where it begins.
        frames: how many of its frames count.
        prompt: the tokens before its text.
        log_mel: its frames, [n_mels, n_frames].
        encoded: how many of its frames are encoded; fewer than all where a short window is enough.
        cross: its keys and values, tens of megabytes, where it was encoded before.
    """

    frame: int
    frames: int
    prompt: tuple[int, ...]
    log_mel: Floats
    encoded: int
    cross: CrossKV | None = None

    @property
    def is_short(self) -> bool:
        """Whether a part of its frames is encoded."""
        frames: int = self.log_mel.shape[1]
        return self.encoded < frames

    def ask_all(self) -> None:
        """Encode all of its frames from now on."""
        self.encoded, self.cross = self.log_mel.shape[1], None


class Transcription:
    """Transcribes one recording, window by window.

    Attributes:
        info: what is known so far; kept up to date while the segments are taken.
        started: `time.perf_counter()` when the caller began to open the recording.
    """

    def __init__(
        self,
        model: Model,
        features: FeatureSource,
        options: DecodingOptions,
        *,
        prompt: Sequence[int] = (),
        started: float | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Prepare; where the language is not given, detect it from the first window.

        Args:
            model: the loaded model.
            features: the recording's log-mel frames.
            options: how to decode; `check_options` has accepted them for this model.
            prompt: the initial prompt's token ids.
            started: `time.perf_counter()` when the caller began to open the recording; None is now.
            on_progress: called with the seconds transcribed so far, after each window.
        """
        now = time.perf_counter()
        started = now if started is None else started
        statistics = Statistics(feature_seconds=now - started)
        rules = rules_for(options, model.tokens, model.audio)
        with model.lock:
            speculation = speculation_for(options, model.load_draft, statistics.speculation)
        loop = DecodingLoop(
            model.decoder,
            model.tokens,
            rules,
            max_tokens=options.max_tokens,
            statistics=statistics,
            started=started,
            speculation=speculation,
        )
        self._model = model
        self._options = options
        self._features = features
        self._on_progress = on_progress
        self._statistics = statistics
        self._reader = WindowReader(features, model.audio.n_frames, padded=options.window == "full")
        self._decoder = FallbackDecoder(loop, model.vocabulary, model.audio, options, statistics)
        self._context = Context(
            prompt,
            condition_on_previous_text=options.condition_on_previous_text,
            reset_temperature=options.prompt_reset_on_temperature,
            limit=previous_text_limit(model.dimensions),
            timestamp_begin=model.tokens.timestamp_begin,
        )
        self._start: Sequence[int] = ()
        self._first_window: Window | None = None  # encoded for language detection
        language, probability = self._language()
        self.info = TranscriptionInfo(language, probability, self._duration(), statistics=statistics)
        self._start = start_sequence(options, model.tokens, language)
        self._frame = 0
        self.started = started

    def segments(self) -> Iterator[Segment]:
        """The segments that hold text, each as soon as its window is decoded."""
        while windows := self.next_windows(1):
            yield from self.take(windows.pop(), self.decode)

    @property
    def is_sequential(self) -> bool:
        """Whether a window must be decoded before the next one is known: by its timestamps, or as its context."""
        return self._options.timestamps or self._options.condition_on_previous_text

    def next_windows(self, most: int) -> list[Window]:
        """The next windows; none after the end. A sequential transcription gives one, and the next when that was taken."""
        windows: list[Window] = []
        while len(windows) < (1 if self.is_sequential else most):
            window = self._window(self._frame)
            if window is None:
                self.info.duration = self._features.duration
                break
            windows.append(window)
            if not self.is_sequential:
                self._frame += window.frames
        return windows

    def encode(self, window: Window) -> CrossKV:
        """A window's keys and values, which are the caller's."""
        if window.cross is not None:
            cross, window.cross = window.cross, None
            return cross
        started = time.perf_counter()
        with self._model.lock:
            cross = self._model.encoder.run(window.log_mel[:, : window.encoded])
        self._statistics.encoder_seconds += time.perf_counter() - started
        return cross

    def take(self, window: Window, decode: Callable[[Window], WindowText]) -> list[Segment]:
        """The segments of a window that hold text; windows come in their order."""
        text = decode(window)
        pieces = self._split(text, window.frames)
        if self.is_sequential:
            self._frame = window.frame + pieces.advance
        self._note_progress(window.frame + pieces.advance)
        segments = (self._segment(piece, window.frame, text) for piece in pieces.segments)
        return [segment for segment in segments if segment.text.strip()]

    @property
    def _detects_language(self) -> bool:
        return self._options.language is None and len(self._model.tokens.languages) > 1

    def _language(self) -> tuple[str, float]:
        tokens = self._model.tokens
        if self._options.language is not None:
            return language_code(self._options.language, tokens), 1.0
        if not self._detects_language:
            return next(iter(tokens.languages), "en"), 1.0
        first = self._window(0)
        assert first is not None  # audio without a single sample is an error when it is opened
        language = self._heard_in(first)
        if language[1] < SURE_LANGUAGE and first.is_short:
            first.ask_all()
            language = self._heard_in(first)
        self._first_window = first
        return language

    def _heard_in(self, window: Window) -> tuple[str, float]:
        """The language spoken in a window, which is encoded for it."""
        cross = window.cross = self.encode(window)
        started = time.perf_counter()
        with self._model.lock:
            language = detect_language(self._model.decoder, cross, self._model.tokens)
            self._model.decoder.release()
        self._statistics.decoder_seconds += time.perf_counter() - started
        return language

    def _window(self, frame: int) -> Window | None:
        """The window at `frame`; None after the last one."""
        if frame == 0 and self._first_window is not None:
            window, self._first_window = self._first_window, None
            window.prompt = self._prompt()
            return window
        started = time.perf_counter()
        features = self._reader.read(frame)
        self._statistics.feature_seconds += time.perf_counter() - started
        if features is None:
            return None
        log_mel, frames = features
        encoded = log_mel.shape[1]
        if self._options.window == "auto":
            if frame > 0 and frames * seconds_per_frame(self._model.audio) < LEAST:
                return None
            encoded = frames_to_encode(frames, self._model.audio)
        self._statistics.windows += 1
        return Window(frame, frames, self._prompt(), log_mel, encoded)

    def _prompt(self) -> tuple[int, ...]:
        previous = self._context.previous
        start = tuple(self._start)
        return (self._model.tokens.start_of_previous, *previous, *start) if previous else start

    def decode(self, window: Window) -> WindowText:
        """Decode a window."""
        if window.is_short:
            if (text := self._decode_short(window)) is not None:
                return text
            window.ask_all()
            if window.frame == 0 and self._detects_language:
                self.info.language, self.info.language_probability = self._heard_in(window)
                self._start = start_sequence(self._options, self._model.tokens, self.info.language)
                window.prompt = self._prompt()
        return self.decide(window, self.encode(window))

    def _decode_short(self, window: Window) -> WindowText | None:
        """The text of a short window; None where it may be wrong."""
        cross = self.encode(window)
        started = time.perf_counter()
        with self._model.lock:
            text = self._decoder.decode_short(cross, window.prompt, window.frames)
            self._decoder.release()
        if text is not None and self._model.short_windows:
            decoded, timestamp_begin = text.decoded, self._model.tokens.timestamp_begin
            if ends_in_doubt(decoded.tokens, decoded.logprobs, timestamp_begin):
                text = None
        self._statistics.decoder_seconds += time.perf_counter() - started
        self._statistics.short_windows += 1
        if text is None:
            self._statistics.full_retries += 1
        return text

    def is_unsure(self, first: Decoded) -> bool:
        """Whether a window's text at the first temperature is to be decoded once more."""
        return self._decoder.is_unsure(first)

    def decide(self, window: Window, cross: CrossKV, first: Decoded | None = None) -> WindowText:
        """A window's text; `first` is what the first temperature gave, where somebody else has decoded it.

        `cross` may be None where `first` is sure.
        """
        started = time.perf_counter()
        with self._model.lock:
            text = self._decoder.decode(cross, window.prompt, first)
            self._decoder.release()
        self._statistics.decoder_seconds += time.perf_counter() - started
        return text

    def _split(self, text: WindowText, frames: int) -> WindowSegments:
        """Cut a window into segments, and remember them as context for the next one."""
        audio, tokens = self._model.audio, text.decoded.tokens
        if text.is_silent:
            self._statistics.silent_windows += 1
            return WindowSegments((), frames)
        if self._options.timestamps:
            pieces = split_window(tokens, frames, self._model.tokens.timestamp_begin, audio)
        else:
            pieces = WindowSegments((TimedTokens(0.0, frames * seconds_per_frame(audio), tokens),), frames)
        self._context.extend(pieces.segments, text.decoded.temperature)
        return pieces

    def _segment(self, piece: TimedTokens, frame: int, window: WindowText) -> Segment:
        offset = frame * seconds_per_frame(self._model.audio)
        # The last window is longer than the recording's rest, and timestamps may lie in its padding.
        last = self._features.duration
        decoded = window.decoded
        return Segment(
            start=round(min(offset + piece.start, last), 3),
            end=round(min(offset + piece.end, last), 3),
            text=self._model.vocabulary.text(piece.tokens),
            tokens=piece.tokens,
            avg_logprob=decoded.avg_logprob,
            no_speech_prob=decoded.no_speech_prob,
            compression_ratio=window.compression_ratio,
            temperature=decoded.temperature,
        )

    def _note_progress(self, frame: int) -> None:
        self.info.processed = min(frame * seconds_per_frame(self._model.audio), self._features.duration)
        self.info.duration = self._duration()
        if self._on_progress is not None:
            self._on_progress(self.info.processed)

    def _duration(self) -> float | None:
        return None if self._features.total_frames is None else self._features.duration
