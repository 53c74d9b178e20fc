"""The loop that turns one window's cross-attention keys and values into tokens."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgewhisper.artifact import TokenIds

from .options import Statistics
from .protocols import CrossKV, Decoder, Floats
from .rules import LogitsRule
from .sampling import Greedy, Sampler, TokenChooser, probability
from .speculation.speculation import Speculation


@dataclass(frozen=True)
class Decoded:
    """The tokens of one window, decoded once."""

    tokens: tuple[int, ...]  # without the prompt and without end of text
    avg_logprob: float  # as openai-whisper counts it, see `DecodingLoop.run`
    no_speech_prob: float
    temperature: float
    is_complete: bool = True  # end of text was reached
    logprobs: tuple[float, ...] = ()  # of each token and, where it was reached, of end of text


@dataclass(frozen=True)
class Prefilled:
    """A decoder that has read a window's prompt."""

    cross: CrossKV
    prompt: Sequence[int]
    first_row: Floats  # logits [vocab] of the first token
    no_speech_prob: float  # 0 for a vocabulary without <|nospeech|>
    hidden: Floats | None  # what the head read for `first_row` [d], where the graph gives it


class DecodingLoop:
    """Decodes windows, under the rules, with one decoder: token by token, or several at once where they can be guessed."""

    def __init__(
        self,
        decoder: Decoder,
        tokens: TokenIds,
        rules: Sequence[LogitsRule],
        *,
        max_tokens: int | None,
        statistics: Statistics,
        started: float,
        speculation: Speculation | None = None,
    ) -> None:
        """Take what all windows have in common.

        Args:
            decoder: has the cache for itself while a window is decoded.
            tokens: the model's special tokens.
            rules: run on every row of logits, in this order.
            max_tokens: per window; None for as many as the cache holds.
            statistics: counts tokens, and the time to the first one since `started` (`time.perf_counter()`).
            started: when the transcription began.
            speculation: proposes tokens, several of which are decoded in one step; None: one token a step.
        """
        self._speculation = speculation
        self._decoder = decoder
        self._tokens = tokens
        self._rules = rules
        self._max_tokens = max_tokens
        self._statistics = statistics
        self._started = started

    def prefill(self, cross: CrossKV, prompt: Sequence[int]) -> Prefilled:
        """Read the prompt: [<|startofprev|> previous text] <|startoftranscript|> [language task] [<|notimestamps|>]."""
        # The last occurrence, as a prompt given as token ids may hold the same id.
        start = len(prompt) - 1 - prompt[::-1].index(self._tokens.start_of_transcript)
        self._decoder.reset(cross)
        rows = self._decoder.run(prompt, start)
        no_speech, hidden = self._tokens.no_speech, self._decoder.hidden
        return Prefilled(
            hidden=None if hidden is None else hidden[-1].copy(),
            cross=cross,
            prompt=prompt,
            first_row=rows[-1].copy(),
            no_speech_prob=0.0 if no_speech is None else probability(rows[0], no_speech),
        )

    def release(self) -> None:
        """Let go of the window: its keys and values are tens of megabytes."""
        self._decoder.release()
        if self._speculation is not None:
            self._speculation.end()

    def run(
        self, prefilled: Prefilled, temperature: float, generator: "np.random.Generator | None" = None
    ) -> Decoded:
        """Decode after a prompt, until end of text or the last position; may be repeated with the same `prefilled`.

        A temperature above 0 needs a `generator`.

        A window may fill the decoder's positions, as in transformers; openai-whisper stops at half of them.

        The average log-probability is openai-whisper's: the sum over all tokens and end of text, after the rules, at
        temperature 1, divided by the number of tokens plus one. transformers divides by the tokens alone where end of
        text was not reached.
        """
        decoder = self._decoder
        row = prefilled.first_row[None].copy()
        chooser: TokenChooser = Greedy(row.size)
        if temperature > 0:
            assert generator is not None
            chooser = Sampler(row.size, temperature, generator)
        # The last token is never fed back, yet counts: transformers' max_length includes it.
        limit = decoder.max_length - len(prefilled.prompt)
        if self._max_tokens is not None:
            limit = min(limit, self._max_tokens)
        decoder.rollback(len(prefilled.prompt))
        speculation = self._speculation
        if speculation is not None:
            speculation.begin(prefilled.cross, prefilled.prompt)
        text = Text(limit, self._tokens.end_of_text)
        self._take(text, row, (), chooser)
        hidden = prefilled.hidden
        while not text.ended:
            proposed: Sequence[int] = ()
            if speculation is not None:
                proposed = speculation.propose(text.tokens, limit - len(text.tokens) - 1, hidden)
            before, started = decoder.length, time.perf_counter()
            rows = decoder.run((text.tokens[-1], *proposed), 0)
            taken = time.perf_counter() - started
            accepted = self._take(text, rows, proposed, chooser)
            if decoder.hidden is not None:
                hidden = decoder.hidden[accepted]
            if proposed:
                decoder.rollback(before + 1 + accepted)
                assert speculation is not None
                speculation.learn(len(proposed), accepted, taken)
        return text.decoded(prefilled.no_speech_prob, temperature)

    def _take(self, text: "Text", rows: Floats, proposed: Sequence[int], chooser: TokenChooser) -> int:
        """Choose a token from every row until one is not what was proposed; returns how many proposals were right.

        Every row is chosen from as if it had been computed alone: its own prefix for the rules, its own draw. A proposal is right if it
        is what would have been chosen anyway, so text and, at temperatures over 0, distribution and draws are those of single steps. It
        is the rejection sampling of arXiv 2211.17192 for drafts that are sure of each proposal: accepted with its probability, else a
        draw from the other tokens.
        """
        for index, row in enumerate(rows):
            for rule in self._rules:
                rule.apply(row, text.tokens)
            token, logprob = chooser.choose(row)
            self._count_token()
            text.add(token, logprob)
            if text.ended or index == len(proposed) or token != proposed[index]:
                return index
        raise AssertionError("a row follows the last proposal")

    def _count_token(self) -> None:
        self._statistics.tokens += 1
        if self._statistics.first_token_seconds is None:
            self._statistics.first_token_seconds = time.perf_counter() - self._started


class Text:
    """The tokens of one window so far."""

    def __init__(self, limit: int, end_of_text: int) -> None:
        self.tokens: list[int] = []
        self._logprobs: list[float] = []
        self._total_logprob = 0.0
        self.ended = False
        self._limit = limit
        self._end_of_text = end_of_text

    def add(self, token: int, logprob: float) -> None:
        """The token that comes next, end of text perhaps, and its log-probability."""
        self._logprobs.append(logprob)
        self._total_logprob += logprob
        if token == self._end_of_text:
            self.ended = True
            return
        self.tokens.append(token)
        self.ended = len(self.tokens) >= self._limit

    @property
    def is_full(self) -> bool:
        """Whether it ended without end of text."""
        return len(self.tokens) >= self._limit

    def decoded(self, no_speech_prob: float, temperature: float) -> Decoded:
        """The outcome, with what is known of it."""
        average = self._total_logprob / (len(self.tokens) + 1)
        return Decoded(
            tuple(self.tokens),
            average,
            no_speech_prob,
            temperature,
            not self.is_full,
            tuple(self._logprobs),
        )
