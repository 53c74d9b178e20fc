"""What stands before a window's own tokens: previous text, language, task."""

from collections.abc import Sequence

from edgewhisper.artifact import ModelDimensions, TokenIds

from .longform import TimedTokens
from .options import DecodingOptions


def start_sequence(options: DecodingOptions, tokens: TokenIds, language: str) -> tuple[int, ...]:
    """<|startoftranscript|>, language and task for a multilingual model, <|notimestamps|> where none are wanted."""
    sequence: list[int | None] = [tokens.start_of_transcript]
    if tokens.is_multilingual:
        sequence += [
            tokens.languages[language],
            tokens.translate if options.task == "translate" else tokens.transcribe,
        ]
    if not options.timestamps:
        sequence.append(tokens.no_timestamps)
    return tuple(token for token in sequence if token is not None)


def previous_text_limit(dimensions: ModelDimensions) -> int:
    """The most tokens of previous text: half of the positions, less one for <|startofprev|>, as in both oracles."""
    return dimensions.max_target_positions // 2 - 1


class Context:
    """The text that a window is told to follow.

    - With `condition_on_previous_text`: the initial prompt and all text since, timestamps included, the last `limit` tokens
      of it. A window decoded at more than `reset_temperature` is likely wrong, and sets this back to the initial prompt.
    - Without: the initial prompt before every window. So does transformers; openai-whisper gives it to the first only.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        *,
        condition_on_previous_text: bool,
        reset_temperature: float,
        limit: int,
        timestamp_begin: int,
    ) -> None:
        self._prompt = tuple(prompt)[-limit:]
        self._condition = condition_on_previous_text
        self._reset_temperature = reset_temperature
        self._limit = limit
        self._timestamp_begin = timestamp_begin
        self._previous = self._prompt

    @property
    def previous(self) -> tuple[int, ...]:
        """The tokens to put after <|startofprev|>."""
        return self._previous

    def extend(self, segments: Sequence[TimedTokens], temperature: float) -> None:
        """Take note of a window's segments, decoded at `temperature`."""
        if not self._condition:
            return
        if temperature > self._reset_temperature:
            self._previous = self._prompt
            return
        for segment in segments:
            tokens = segment.tokens
            # The second timestamp of a last pair begins the next window's first segment, and will come again there.
            if len(tokens) > 2 and tokens[-2] >= self._timestamp_begin:
                tokens = tokens[:-1]
            self._previous = (self._previous + tokens)[-self._limit :]
