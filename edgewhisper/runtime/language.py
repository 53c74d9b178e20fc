"""Whisper's languages: names, codes, and detection."""

from typing import TYPE_CHECKING

from edgewhisper.artifact import TokenIds
from edgewhisper.errors import UsageError

if TYPE_CHECKING:
    from .protocols import CrossKV, Decoder

_NAMES = """
af afrikaans, am amharic, ar arabic, as assamese, az azerbaijani, ba bashkir, be belarusian, bg bulgarian, bn bengali,
bo tibetan, br breton, bs bosnian, ca catalan, cs czech, cy welsh, da danish, de german, el greek, en english, es spanish,
et estonian, eu basque, fa persian, fi finnish, fo faroese, fr french, gl galician, gu gujarati, ha hausa, haw hawaiian,
he hebrew, hi hindi, hr croatian, ht haitian creole, hu hungarian, hy armenian, id indonesian, is icelandic, it italian,
ja japanese, jw javanese, ka georgian, kk kazakh, km khmer, kn kannada, ko korean, la latin, lb luxembourgish, ln lingala,
lo lao, lt lithuanian, lv latvian, mg malagasy, mi maori, mk macedonian, ml malayalam, mn mongolian, mr marathi, ms malay,
mt maltese, my myanmar, ne nepali, nl dutch, nn nynorsk, no norwegian, oc occitan, pa punjabi, pl polish, ps pashto,
pt portuguese, ro romanian, ru russian, sa sanskrit, sd sindhi, si sinhala, sk slovak, sl slovenian, sn shona, so somali,
sq albanian, sr serbian, su sundanese, sv swedish, sw swahili, ta tamil, te telugu, tg tajik, th thai, tk turkmen,
tl tagalog, tr turkish, tt tatar, uk ukrainian, ur urdu, uz uzbek, vi vietnamese, yi yiddish, yo yoruba, yue cantonese,
zh chinese
"""
LANGUAGES: dict[str, str] = dict(entry.strip().split(" ", 1) for entry in _NAMES.split(","))
"""Code -> English name of every language that a Whisper checkpoint may know."""

_OTHER_NAMES = {
    "burmese": "my",
    "castilian": "es",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "mandarin": "zh",
    "moldavian": "ro",
    "moldovan": "ro",
    "panjabi": "pa",
    "pushto": "ps",
    "sinhalese": "si",
    "valencian": "ca",
}
_CODES = {name: code for code, name in LANGUAGES.items()} | _OTHER_NAMES


def language_code(language: str, tokens: TokenIds) -> str:
    """The code of a language given as code or English name, in any case.

    Raises:
        UsageError: no such language, or not one of this model's.
    """
    name = language.strip().lower()
    code = name if name in LANGUAGES or name in tokens.languages else _CODES.get(name)
    if not tokens.is_multilingual:
        if code == "en":
            return code
        raise UsageError(
            f"language {language!r}: this model knows English only; leave the language out or take another model"
        )
    if code is None or code not in tokens.languages:
        known = ", ".join(sorted(tokens.languages))
        raise UsageError(f"language {language!r} is not one of this model's; choose one of: {known}")
    return code


def detect_language(decoder: "Decoder", cross: "CrossKV", tokens: TokenIds) -> tuple[str, float]:
    """The likeliest language of a window and its probability among the model's languages.

    One step of the decoder after `<|startoftranscript|>`, as `detect_language` of openai-whisper and transformers.
    """
    import numpy as np  # of the whole command line's modules only this one would need it: the doctor must start without

    decoder.reset(cross)
    logits = decoder.run((tokens.start_of_transcript,), 0)[0]
    codes = list(tokens.languages)
    scores = logits[list(tokens.languages.values())].astype(np.float64)
    weights = np.exp(scores - scores.max())
    best = int(scores.argmax())
    return codes[best], float(weights[best] / weights.sum())
