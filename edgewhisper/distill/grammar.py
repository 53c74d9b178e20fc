"""Sentence templates: `turn {on_off} the {device}[ in {room}]`.

A template is text with `{slots}`, filled from a named list or by a function, and `[optional parts]`, kept with
probability one half. Slot contents may contain slots themselves.
"""

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Filler = Sequence[str] | Callable[[random.Random], str]

_SLOT = re.compile(r"\{(\w+)\}")
_OPTIONAL = re.compile(r"\[([^\[\]]*)\]")


@dataclass(frozen=True)
class Grammar:
    """The sentences of one language."""

    language: str
    """Whisper's language code: `en` or `de`."""

    slots: Mapping[str, Filler]
    statements: Sequence[str]
    """Templates that end with a full stop; two of them can be joined."""

    questions: Sequence[str]
    """Templates that end with a question mark."""

    interjections: Sequence[str]
    joints: Sequence[str]
    """What stands between two joined statements, spaces included."""

    lexicon: Sequence[str]
    """Words and short phrases for word lists in random order."""

    def expand(self, template: str, rng: random.Random) -> str:
        """Fills slots and decides optional parts until only text is left."""
        while _OPTIONAL.search(template):
            template = _OPTIONAL.sub(lambda part: part[1] if rng.random() < 0.5 else "", template, count=1)
        while _SLOT.search(template):
            template = _SLOT.sub(lambda slot: self._fill(slot[1], rng), template, count=1)
        if "[" in template:
            return self.expand(template, rng)
        return template

    def _fill(self, name: str, rng: random.Random) -> str:
        filler = self.slots[name]
        return filler(rng) if callable(filler) else rng.choice(filler)

    def statement(self, rng: random.Random) -> str:
        return self.expand(rng.choice(self.statements), rng)

    def question(self, rng: random.Random) -> str:
        return self.expand(rng.choice(self.questions), rng)


def words(text: str) -> list[str]:
    """Splits a comma-separated list, line breaks allowed."""
    return [" ".join(item.split()) for item in text.split(",")]
