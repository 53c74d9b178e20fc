"""What a caller asks of a transcription, and what comes back."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal

from edgewhisper.artifact import ModelDimensions, TokenIds
from edgewhisper.errors import UsageError

from .language import language_code

Task = Literal["transcribe", "translate"]
TASKS: tuple[Task, ...] = ("transcribe", "translate")
Window = Literal["full", "auto"]
WINDOWS: tuple[Window, ...] = ("full", "auto")
_LARGEST = sys.float_info.max  # beyond it lies infinity


@dataclass(frozen=True)
class DecodingOptions:
    """How speech becomes text. The thresholds are openai-whisper's.

    Raises:
        UsageError: a value that no model accepts. What only some models accept (a language, a token id) is checked by
            the transcriber.
    """

    language: str | None = None  # code or English name; None detects it from the first window
    task: Task = "transcribe"  # "translate" writes English whatever is spoken
    timestamps: bool = True  # they also steer long recordings; False goes window by window
    temperature: float | Sequence[float] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # tried in turn; 0 is greedy
    compression_ratio_threshold: float | None = 2.4  # above it, text is repetitive: next temperature
    logprob_threshold: float | None = -1.0  # average log-probability below it is unsure: next temperature
    no_speech_threshold: float | None = 0.6  # above it, an unsure window is silence and has no text
    initial_prompt: str | Sequence[int] | None = None  # text or ids to follow; see `prompt.Context`
    condition_on_previous_text: bool = False  # give every window the text so far
    prompt_reset_on_temperature: float = 0.5  # text of a higher temperature is not given to the next window
    suppress_tokens: Sequence[int] | None = None  # ids never written; None is the checkpoint's list
    suppress_blank: bool = True  # no blank and no end of text first in a window (the checkpoint's list)
    max_initial_timestamp: float | None = None  # of a window, in seconds; None is the checkpoint's
    max_tokens: int | None = None  # per window; None is as many as the model has positions for
    seed: int = 0  # of the draws at temperatures over 0
    # Tokens guessed and verified at once: as many as pay ("auto"), none ("off"), or a number. The text is the same.
    speculate: Literal["auto", "off"] | int = "auto"
    # Where a device or a precision computes several rows with other bits than one, "auto" guesses nothing, lest a token change;
    # True lets it.
    allow_inexact: bool = False
    # Tokens that an earlier decoding of the same audio gave, to be guessed first; they need not be right.
    hypothesis: Sequence[int] | None = None
    # "auto" encodes speech and a margin instead of a full window, several times faster on short recordings; text that looks wrong is
    # written anew from the full window. Only where the error rate with it was measured: `Manifest.model.short_windows`.
    window: Window = "full"

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise UsageError(f"unknown task {self.task!r}; choose one of: {', '.join(TASKS)}")
        switch = "True or False"
        checks = {
            "language": (_is_text_or_none(self.language), "a code or an English name"),
            "timestamps": (isinstance(self.timestamps, bool), switch),
            "temperature": (_are_temperatures(self.temperature), "one or more numbers of 0 or more"),
            "compression_ratio_threshold": (_is_threshold(self.compression_ratio_threshold), "a number"),
            "logprob_threshold": (_is_threshold(self.logprob_threshold), "a number"),
            "no_speech_threshold": (_is_threshold(self.no_speech_threshold, 0, 1), "a probability, 0 to 1"),
            "initial_prompt": (
                _is_text_or_none(self.initial_prompt) or _are_ids(self.initial_prompt),
                "text or a list of token ids",
            ),
            "condition_on_previous_text": (isinstance(self.condition_on_previous_text, bool), switch),
            "prompt_reset_on_temperature": (_is_number(self.prompt_reset_on_temperature), "a number"),
            "suppress_tokens": (
                self.suppress_tokens is None or _are_ids(self.suppress_tokens),
                "a list of token ids",
            ),
            "suppress_blank": (isinstance(self.suppress_blank, bool), switch),
            "max_initial_timestamp": (
                _is_threshold(self.max_initial_timestamp, 0, _LARGEST),
                "seconds of 0 or more",
            ),
            "max_tokens": (
                self.max_tokens is None or _is_whole(self.max_tokens, 1),
                "a whole number of 1 or more",
            ),
            "speculate": (
                self.speculate in ("auto", "off") or _is_whole(self.speculate, 1),
                "auto, off, or a whole number of 1 or more",
            ),
            "allow_inexact": (isinstance(self.allow_inexact, bool), switch),
            "hypothesis": (self.hypothesis is None or _are_ids(self.hypothesis), "a list of token ids"),
            "window": (self.window in WINDOWS, " or ".join(WINDOWS)),
            "seed": (_is_whole(self.seed, 0), "a whole number of 0 or more"),
        }
        for name, (is_valid, wanted) in checks.items():
            if not is_valid:
                raise UsageError(f"{name} {getattr(self, name)!r} is not valid; give {wanted}")

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try, in turn."""
        if isinstance(self.temperature, Sequence):
            return tuple(float(value) for value in self.temperature)
        return (float(self.temperature),)


def _is_number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return low <= float(value) <= high  # False for NaN
    except OverflowError:  # of an integer
        return False


def _is_whole(value: object, low: int) -> bool:
    return isinstance(value, Integral) and _is_number(value, low)


def _is_threshold(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    return value is None or _is_number(value, low, high)


def _is_text_or_none(value: object) -> bool:
    return value is None or isinstance(value, str)


def _are_temperatures(value: object) -> bool:
    given = value if isinstance(value, Sequence) else (value,)
    return len(given) > 0 and all(_is_number(each, 0, _LARGEST) for each in given)


def _are_ids(value: object) -> bool:
    return isinstance(value, Sequence) and all(isinstance(each, Integral) for each in value)


def check_options(options: DecodingOptions, tokens: TokenIds, dimensions: ModelDimensions) -> None:
    """Check what depends on the model.

    Raises:
        UsageError: the model lacks the language, the task or a token id.
    """
    if options.language is not None:
        language_code(options.language, tokens)
    if options.task == "translate" and (not tokens.is_multilingual or tokens.translate is None):
        raise UsageError("task 'translate': this model only transcribes; take a multilingual model")
    most = dimensions.max_target_positions - 2
    if not isinstance(options.speculate, str) and options.speculate > most:
        raise UsageError(
            f"speculate {options.speculate}: the decoder has room for {most} tokens at once, take fewer"
        )
    lists = {
        "suppress_tokens": options.suppress_tokens,
        "initial_prompt": options.initial_prompt,
        "hypothesis": options.hypothesis,
    }
    for name, ids in lists.items():
        if ids is None or isinstance(ids, str):
            continue
        if unknown := [token for token in ids if not 0 <= token < dimensions.vocab_size]:
            raise UsageError(
                f"{name}: no token has the id {unknown[0]}; ids go from 0 to {dimensions.vocab_size - 1}"
            )
    if options.suppress_tokens is not None and tokens.end_of_text in options.suppress_tokens:
        raise UsageError(
            f"suppress_tokens: {tokens.end_of_text} is end of text, without which no window ends; leave it out"
        )


@dataclass(frozen=True)
class Segment:
    """A stretch of speech and its text. The last four values are those of the window it was decoded in."""

    start: float  # seconds from the beginning of the recording
    end: float
    text: str  # as the model wrote it, most often with a leading space
    tokens: tuple[int, ...]  # with the timestamp tokens that enclose it
    avg_logprob: float  # mean natural log-probability of the window's tokens, end of text included
    no_speech_prob: float  # probability of <|nospeech|> right after <|startoftranscript|>
    compression_ratio: float  # bytes of the window's text over bytes of it compressed by zlib
    temperature: float  # at which the window was decoded


@dataclass
class SpeculationStatistics:
    """What drafts proposed for one transcription."""

    verifications: int = 0  # steps over several tokens
    proposed: int = 0  # tokens
    accepted: int = 0  # of them, those that the text has
    draft_seconds: float = 0.0
    main_seconds: float = 0.0  # of the verifications
    greedy_seconds: float = (
        math.nan
    )  # a single step's on this device, as measured at first use; without a draft unknown

    @property
    def gain(self) -> float:
        """Speed-up over single steps where tokens were proposed; NaN while unknown."""
        spent = self.draft_seconds + self.main_seconds
        return self.greedy_seconds * (self.accepted + self.verifications) / spent if spent else math.nan

    @property
    def acceptance_rate(self) -> float:
        """Accepted over proposed; 0 where nothing was proposed."""
        return self.accepted / self.proposed if self.proposed else 0.0

    @property
    def tokens_per_verification(self) -> float:
        """Tokens that a step over several gave, its own included; 0 where there was none."""
        return (self.accepted + self.verifications) / self.verifications if self.verifications else 0.0


@dataclass
class Statistics:
    """Counts and times of one transcription, up to date after each segment and complete when the generator ends."""

    windows: int = 0  # windows encoded
    silent_windows: int = 0  # windows skipped by the no-speech rule
    short_windows: int = 0  # windows of which a part was encoded
    full_retries: int = 0  # short windows whose text was written anew from the full window
    fallbacks: int = 0  # decodings repeated at a higher temperature
    tokens: int = 0  # tokens generated, repeated decodings and ends of text included
    feature_seconds: float = 0.0  # reading, resampling and log-mel
    encoder_seconds: float = 0.0
    decoder_seconds: float = 0.0  # language detection included
    first_token_seconds: float | None = None  # from the call to the first token
    speculation: SpeculationStatistics = field(default_factory=SpeculationStatistics)


@dataclass
class TranscriptionInfo:
    """What is known of a recording beside its text."""

    language: str  # code; "en" for an English-only model
    language_probability: float  # 1.0 when the language was given, or the model knows one only
    duration: float | None  # seconds; None while the end of a pipe has not been reached
    processed: float = 0.0  # seconds transcribed so far
    statistics: Statistics = field(default_factory=Statistics)
