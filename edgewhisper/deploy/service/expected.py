"""Names and words that a client expects to be said: they are put before the text, as those that the service was started with."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from edgewhisper.artifact import ModelDimensions
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.prompt import previous_text_limit

from .events import is_unicode
from .limits import Refusal

_NAMES, _TERMS = "transcript_names", "transcript_terms"
_ENDS = ".!?,;:"


def with_expected(
    options: DecodingOptions, data: dict[str, Any], dimensions: ModelDimensions
) -> DecodingOptions:
    """The options with the names and terms of a `transcribe` event after the prompt that they have, names first.

    Of a prompt that is too long the model takes the end; so there are no more names and terms than it certainly has room for, a
    character for each token, and the rest is left out.

    Raises:
        Refusal: names or terms that are no texts.
    """
    words = [
        word for name in (_NAMES, _TERMS) for text in _texts(data, name) if (word := " ".join(text.split()))
    ]
    before = options.initial_prompt
    if not words or not (before is None or isinstance(before, str)):  # token ids are followed by nothing
        return options
    expected = _joined(words, previous_text_limit(dimensions))
    if before := (before or "").strip():
        expected = f"{before}{' ' if before[-1] in _ENDS else ', '}{expected}"
    return dataclasses.replace(options, initial_prompt=expected)


def _texts(data: dict[str, Any], name: str) -> Sequence[str]:
    value = data.get(name)
    if value is None:
        return []
    if isinstance(value, list) and all(isinstance(each, str) and is_unicode(each) for each in value):
        return value
    raise Refusal("malformed", f"'{name}' is not a list of texts")


def _joined(words: Sequence[str], most: int) -> str:
    """As many of the words as have room in so many characters."""
    text = words[0][:most]
    for word in words[1:]:
        if len(text) + len(word) + 2 > most:
            break
        text = f"{text}, {word}"
    return text
