"""A small vocabulary, and encoders, decoders and recordings that follow a script instead of a graph."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings, ModelDimensions, TokenIds
from edgewhisper.runtime.vocabulary import Vocabulary, pack_tokens

Floats = NDArray[np.float32]
# Logits of one row, given the window and all tokens before it, prompt included.
Script = Callable[[Any, tuple[int, ...]], Floats]

END, START, ENGLISH, GERMAN, TRANSLATE, TRANSCRIBE, PREVIOUS, NO_SPEECH, NO_TIMESTAMPS, BEGIN = range(
    100, 110
)
WINDOW_STEPS = 100  # timestamp tokens of 0.02 s in a window of 2 s
VOCAB_SIZE = BEGIN + WINDOW_STEPS + 1

AUDIO = AudioSettings(n_mels=4, n_frames=2 * WINDOW_STEPS)
DIMENSIONS = ModelDimensions(
    n_mels=4, d_model=16, encoder_layers=1, encoder_heads=2, encoder_ffn=32, decoder_layers=1, decoder_heads=2,
    decoder_ffn=32, vocab_size=VOCAB_SIZE, max_source_positions=WINDOW_STEPS, max_target_positions=40,
)  # fmt: skip
TOKENS = TokenIds(
    end_of_text=END, start_of_transcript=START, transcribe=TRANSCRIBE, translate=TRANSLATE, start_of_previous=PREVIOUS,
    no_speech=NO_SPEECH, no_timestamps=NO_TIMESTAMPS, timestamp_begin=BEGIN,
    languages={"en": ENGLISH, "de": GERMAN}, suppress=(7, START, NO_SPEECH), begin_suppress=(5, END),
    max_initial_timestamp_index=50,
)  # fmt: skip
ENGLISH_ONLY = TokenIds(
    end_of_text=END, start_of_transcript=START, transcribe=None, translate=None, start_of_previous=PREVIOUS,
    no_speech=NO_SPEECH, no_timestamps=NO_TIMESTAMPS, timestamp_begin=BEGIN, languages={},
)  # fmt: skip
VOCABULARY = Vocabulary(pack_tokens([b" w%d" % token for token in range(END)]), END, "test")


def row(*likely: tuple[int, float]) -> Floats:
    """Logits of 0, but for the given (token, logit) pairs."""
    logits = np.zeros(VOCAB_SIZE, np.float32)
    for token, logit in likely:
        logits[token] = logit
    return logits


def sure(token: int) -> Floats:
    """Logits that leave no doubt."""
    return row((token, 50.0))


class ScriptedEncoder:
    """Hands the window's log-mel through."""

    def __init__(self) -> None:
        self.windows: list[Floats] = []

    def run(self, log_mel: Floats) -> Floats:
        self.windows.append(log_mel.copy())
        return self.windows[-1]


def hidden_state(tokens: Sequence[int]) -> Floats:
    """What a decoder that has read `tokens` goes on from."""
    return np.array([len(tokens), *tokens, *([0] * (80 - len(tokens)))], np.float32)


class ScriptedDecoder:
    """Takes its logits from a script, and notes what it was asked for. A hidden state is the tokens that it knows, filled up."""

    def __init__(self, script: Script, max_length: int = DIMENSIONS.max_target_positions) -> None:
        self._script = script
        self._cross: Any = None
        self._tokens: list[int] = []
        self.max_length = max_length
        self.calls: list[tuple[int, ...]] = []
        self.hidden: Floats | None = None

    @property
    def length(self) -> int:
        return len(self._tokens)

    def reset(self, cross: Any) -> None:
        self._cross = cross
        self._tokens = []

    def release(self) -> None:
        self._cross = None
        self._tokens = []

    def rollback(self, length: int) -> None:
        assert 0 <= length <= len(self._tokens)
        del self._tokens[length:]

    def run(self, tokens: Sequence[int], logits_from: int) -> Floats:
        assert self.length + len(tokens) <= self.max_length
        self.calls.append(tuple(tokens))
        before = self.length
        self._tokens += tokens
        rows = range(before + logits_from, self.length)
        self.hidden = np.stack([hidden_state(self._tokens[: i + 1]) for i in rows])
        return np.stack([self._script(self._cross, tuple(self._tokens[: i + 1])) for i in rows])


def after_prompt(prefix: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens sampled so far: those after the last <|startoftranscript|> and what belongs to it."""
    start = len(prefix) - prefix[::-1].index(START)
    while start < len(prefix) and END <= prefix[start] < BEGIN:
        start += 1
    return prefix[start:]


def saying(*tokens: int) -> Script:
    """The same tokens in every window, then end of text."""
    script = (*tokens, END)
    return lambda cross, prefix: sure(script[len(after_prompt(prefix))])


class Frames:
    """A recording whose log-mel rows hold each frame's number, plus one, so that padding (0) can be told."""

    def __init__(self, total_frames: int, n_frames: int = AUDIO.n_frames) -> None:
        self.total_frames: int | None = total_frames
        self.is_single_window = total_frames <= n_frames
        self.duration = total_frames * AUDIO.hop_length / AUDIO.sample_rate
        self._frames = total_frames

    def window(self, start_frame: int, n_frames: int) -> tuple[Floats, int]:
        log_mel = np.zeros((AUDIO.n_mels, n_frames), np.float32)
        real = max(0, min(n_frames, self._frames - start_frame))
        log_mel[:, :real] = np.arange(start_frame + 1, start_frame + 1 + real)
        return log_mel, real

    def ended(self, frame: int) -> bool:
        return frame >= self._frames
