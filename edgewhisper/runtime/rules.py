"""Whisper's rules on logits: what may follow a given prefix.

A rule works on one row of logits, in place, given the tokens sampled before that row (prompt excluded), and keeps no
state: so it can run on every row of a verified run with that row's own prefix.

The rules are those of openai-whisper (`decoding.py`: SuppressBlank, SuppressTokens, ApplyTimestampRules) and of
transformers (`WhisperTimeStampLogitsProcessor`), which agree, but for a maximum initial timestamp of 0: to
openai-whisper that is no maximum, to transformers and here it is the window's beginning. In both, `<|notimestamps|>`
is suppressed only while timestamps are wanted, and timestamps are not suppressed where they are not wanted: there the
prompt's `<|notimestamps|>` alone keeps them away.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings, TokenIds

from .options import DecodingOptions
from .protocols import Floats


class LogitsRule(Protocol):
    """Forbids tokens by setting their logits to minus infinity."""

    def apply(self, row: Floats, sampled: Sequence[int]) -> None:
        """Change `row` [vocab] in place; `sampled` are the tokens after the prompt and before this row."""
        ...


class SuppressTokens:
    """Forbids a list of tokens everywhere."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = _indices(tokens)

    def apply(self, row: Floats, sampled: Sequence[int]) -> None:
        """Forbid the tokens."""
        row[self._tokens] = -np.inf


class SuppressAtBegin:
    """Forbids a list of tokens as the first one, so that a window does not begin with a blank or end at once."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self._tokens = _indices(tokens)

    def apply(self, row: Floats, sampled: Sequence[int]) -> None:
        """Forbid the tokens if nothing has been sampled."""
        if not sampled:
            row[self._tokens] = -np.inf


class InitialTimestamp:
    """The first token is a timestamp, and not later than `max_index` steps (None: any)."""

    def __init__(self, timestamp_begin: int, max_index: int | None) -> None:
        self._begin = timestamp_begin
        self._max_index = max_index

    def apply(self, row: Floats, sampled: Sequence[int]) -> None:
        """Forbid everything else if nothing has been sampled."""
        if sampled:
            return
        row[: self._begin] = -np.inf
        if self._max_index is not None:
            row[self._begin + self._max_index + 1 :] = -np.inf


class TimestampPairs:
    """Timestamps come in pairs (end, start of the next), except at both ends of a window, and never go back.

    After text a timestamp must be later than the last one, so that no segment is empty and a window always moves on.
    """

    def __init__(self, timestamp_begin: int, end_of_text: int) -> None:
        self._begin = timestamp_begin
        self._end_of_text = end_of_text

    def apply(self, row: Floats, sampled: Sequence[int]) -> None:
        """Forbid what would break a pair or go back in time."""
        begin = self._begin
        last = next((token for token in reversed(sampled) if token >= begin), None)
        if last is None:
            return
        first_allowed = last + 1
        if sampled[-1] >= begin:
            if len(sampled) < 2 or sampled[-2] >= begin:
                row[begin:] = -np.inf
                return
            row[: self._end_of_text] = -np.inf
            first_allowed = last
        row[begin:first_allowed] = -np.inf


class PreferTimestamps:
    """A timestamp it is, if all timestamps together are likelier than any single other token."""

    def __init__(self, timestamp_begin: int) -> None:
        self._begin = timestamp_begin

    def apply(self, row: Floats, sampled: Sequence[int]) -> None:
        """Forbid all other tokens if the timestamps win."""
        others, timestamps = row[: self._begin], row[self._begin :]
        highest_other, highest = float(others.max()), float(timestamps.max())
        if highest == -math.inf or highest_other == -math.inf:
            return
        if highest <= highest_other:
            total = float(np.exp(timestamps - highest).sum())
            if highest + math.log(total) <= highest_other:
                return
        others[:] = -np.inf


def rules_for(options: DecodingOptions, tokens: TokenIds, audio: AudioSettings) -> tuple[LogitsRule, ...]:
    """The rules of one transcription, in the order in which they are to run."""
    suppressed = list(tokens.suppress if options.suppress_tokens is None else options.suppress_tokens)
    if options.timestamps:
        suppressed.append(tokens.no_timestamps)
    rules: list[LogitsRule] = []
    if suppressed:
        rules.append(SuppressTokens(suppressed))
    if options.suppress_blank and tokens.begin_suppress:
        rules.append(SuppressAtBegin(tokens.begin_suppress))
    if options.timestamps:
        max_index = tokens.max_initial_timestamp_index
        if options.max_initial_timestamp is not None:
            max_index = round(options.max_initial_timestamp / audio.time_precision)
        rules.append(InitialTimestamp(tokens.timestamp_begin, max_index))
        rules.append(TimestampPairs(tokens.timestamp_begin, tokens.end_of_text))
        rules.append(PreferTimestamps(tokens.timestamp_begin))
    return tuple(rules)


def _indices(tokens: Sequence[int]) -> NDArray[np.intp]:
    return np.array(sorted(set(tokens)), dtype=np.intp)
