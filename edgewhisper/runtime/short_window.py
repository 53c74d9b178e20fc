"""Windows as long as their speech, instead of full ones: what encoding costs grows with the frames.

Whisper learnt from full windows. One that ends too soon after the speech makes it repeat itself, or never end its text (error rates of 318 %
were seen without a margin, 19 % with 1.3 s of silence after the speech: futo-org/whisper-acft, issue 5). So some silence stays, and text that
looks like such a failure is thrown away and written anew from the full window.
"""

import itertools
import math
from collections.abc import Sequence

from edgewhisper.artifact import AudioSettings, Manifest

from .longform import seconds_per_frame
from .options import Window

MARGIN = 1.28
"""Seconds of silence that stay after the speech."""

LEAST = 0.2
"""Seconds: what is left of a recording, if it is shorter, holds no word and is no window."""

SURE_LANGUAGE = 0.5
"""Probability below which the full window is asked for the language."""

_STEP = 32
"""Frames: lengths are multiples of it, so that few different ones are computed."""

_MOST_OF_WINDOW = 0.9
"""Above this share a full window costs hardly more."""

_TOKENS_PER_SECOND, _TOKENS_BESIDE = 20, 8
"""No one speaks faster in languages of Latin script; of others, whose characters are a token or more each, some full windows are asked in vain."""

_ENDING = 6
"""Tokens, end of text among them. A window that stops too soon leaves the model in doubt about the words before, or about whether to end."""

_SURE_ENDING = math.log(0.45)
"""Log-probability that no token of the ending falls below, with the bundled model, in 98 of 100 texts that are right."""


def usual_window(manifest: Manifest) -> Window:
    """What speech that comes in short pieces is best decoded with: "auto" where the model's error rate with it was measured."""
    return "auto" if manifest.model.short_windows else "full"


def frames_to_encode(frames: int, audio: AudioSettings) -> int:
    """How many of a window's frames to encode, of which the first `frames` are audio; all of them where little would be saved."""
    margin = round(MARGIN / seconds_per_frame(audio))
    kept = -(-(frames + margin) // _STEP) * _STEP
    return kept if kept <= _MOST_OF_WINDOW * audio.n_frames else audio.n_frames


def is_too_fast(tokens: int, frames: int, audio: AudioSettings) -> bool:
    """Whether nobody says as many tokens in as many frames."""
    return tokens > _TOKENS_BESIDE + _TOKENS_PER_SECOND * frames * seconds_per_frame(audio)


def ends_in_doubt(tokens: Sequence[int], logprobs: Sequence[float], timestamp_begin: int) -> bool:
    """Whether a text ends as one whose window stopped before its speech did.

    Args:
        tokens: as decoded, without end of text.
        logprobs: of each token, and of end of text.
        timestamp_begin: id of <|0.00|>; timestamps may be anywhere nearby, and are never sure.
    """
    words = [
        logprob
        for token, logprob in itertools.zip_longest(tokens, logprobs, fillvalue=-1)
        if token < timestamp_begin
    ]
    return min(words[-_ENDING:], default=0.0) < _SURE_ENDING
