"""Which espeak-ng voices training hears, and which are kept for the evaluation of unseen voices."""

import random

from .espeak import Voice

_ACCENTS = {
    "en": ("en", "en-US", "en-GB-scotland", "en-GB-x-rp", "en-US-nyc"),
    "de": ("de",),
}
_UNSEEN_ACCENTS = {"en": ("en-GB-x-gbclan",), "de": ()}

_VARIANTS = (
    "", "m1", "m2", "m4", "m5", "m6", "m7", "m8", "f1", "f3", "f4", "f5", "adam", "Andrea", "Andy", "Annie", "belinda",
    "Denis", "Alicia", "linda", "steph", "Michael", "Mike", "Lee", "david", "klatt2", "klatt4", "john", "Marco",
    "benjamin",
)  # fmt: skip
_UNSEEN_VARIANTS = ("m3", "f2", "Alex", "anika", "max")

_UNSEEN_ACCENT_SHARE = 0.25
_SPEED = (130, 190)
"""Words per minute."""

_PITCH = (30, 70)


def seen_voice(language: str, rng: random.Random) -> Voice:
    """A voice that training uses."""
    return _voice(rng.choice(_ACCENTS[language]), _VARIANTS, rng)


def unseen_voice(language: str, rng: random.Random) -> Voice:
    """A voice with a variant, sometimes also an accent, that training never uses."""
    if _UNSEEN_ACCENTS[language] and rng.random() < _UNSEEN_ACCENT_SHARE:
        return _voice(rng.choice(_UNSEEN_ACCENTS[language]), _UNSEEN_VARIANTS, rng)
    return _voice(rng.choice(_ACCENTS[language]), _UNSEEN_VARIANTS, rng)


def _voice(accent: str, variants: tuple[str, ...], rng: random.Random) -> Voice:
    return Voice(accent, rng.choice(variants), rng.randint(*_SPEED), rng.randint(*_PITCH))
