"""What a vocabulary is pruned to: languages, characters, or a corpus."""

import hashlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.errors import UsageError

from .characters import languages_known

_FORMS = "languages:en,de, characters:TEXT or corpus:FILE"


@dataclass(frozen=True)
class Languages:
    """Keep what these languages are written with, and only these language tokens."""

    codes: tuple[str, ...]

    def __str__(self) -> str:
        return f"languages:{','.join(self.codes)}"


@dataclass(frozen=True)
class Characters:
    """Keep what can be written with these characters, each in the case in which it is given."""

    characters: frozenset[str]

    def __str__(self) -> str:
        return f"characters:{''.join(sorted(self.characters))}"


@dataclass(frozen=True)
class Corpus:
    """Keep the tokens that a text is made of.

    Attributes:
        name: the file's, without its folder.
        text: its contents; every line is taken as one transcript.
    """

    name: str
    text: str

    def __str__(self) -> str:
        return f"corpus:{self.name} (sha256 {hashlib.sha256(self.text.encode()).hexdigest()[:16]})"


VocabularyChoice = Languages | Characters | Corpus
"""`str()` of it says what was chosen in a form for the manifest: without paths, with a corpus' checksum."""


def parse_vocabulary_choice(text: str) -> VocabularyChoice:
    """Read a choice: "languages:en,de", "characters:abc..." or "corpus:FILE" (UTF-8, one transcript a line).

    Raises:
        UsageError: none of these forms, an unknown language, no characters, or a corpus that cannot be read or is empty.
    """
    kind, colon, value = text.partition(":")
    if not colon or not value.strip() or kind not in ("languages", "characters", "corpus"):
        raise UsageError(f"prune-vocabulary '{text}': write {_FORMS}")
    if kind == "characters":
        return Characters(frozenset(unicodedata.normalize("NFC", value)))
    return _languages(value) if kind == "languages" else _corpus(Path(value))


def _languages(value: str) -> Languages:
    codes = tuple(dict.fromkeys(code.strip().lower() for code in value.split(",") if code.strip()))
    unknown = [code for code in codes if code not in languages_known()]
    if unknown or not codes:
        name = unknown[0] if unknown else value
        raise UsageError(
            f"prune-vocabulary: no language '{name}'; give Whisper's codes, such as en,de, or a corpus:FILE"
        )
    return Languages(codes)


def _corpus(path: Path) -> Corpus:
    try:
        # Composed, as Whisper's transcripts are: "a" with a combining mark is another token.
        text = unicodedata.normalize("NFC", path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"{path}: the corpus cannot be read ({error.strerror}); name a text file") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: the corpus is not UTF-8 text; convert it first") from None
    if not text.strip():
        raise UsageError(f"{path}: the corpus is empty; give the text whose tokens are to be kept")
    return Corpus(path.name, text)
