"""What a listener gives out."""

from dataclasses import dataclass
from typing import Literal

EndedBy = Literal["pause", "length", "key", "end"]


@dataclass(frozen=True)
class Utterance:
    """Something that was said. Times are seconds since listening began."""

    start: float  # of the voice
    end: float
    text: str
    language: str  # code
    confidence: float  # 0 to 1: the geometric mean of the tokens' probabilities
    avg_logprob: float  # its logarithm
    no_speech_prob: float
    ended_by: (
        EndedBy  # a pause, the greatest length (it goes on in the next one), the key, or the end of the sound
    )
    latency: float  # seconds from the decision that it is over to the text
    latency_from_voice: float  # seconds from the arrival of the last sound with voice to the text


@dataclass(frozen=True)
class Partial:
    """The beginning of an utterance that is under way, as far as it is stable."""

    start: float  # of the voice, in seconds since listening began
    text: str  # empty: nothing was said after all, and what was shown before is taken back


@dataclass(frozen=True)
class Dropped:
    """An utterance that was never decoded, as those before it took too long. Times are seconds since listening began."""

    start: float
    end: float


Heard = Utterance | Partial | Dropped
