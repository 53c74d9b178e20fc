"""A user's phrases as a draft: a text file becomes tokens that are looked up."""

from pathlib import Path

from edgewhisper.errors import ArtifactError, UsageError
from edgewhisper.models.checkpoint import Vocabulary
from edgewhisper.runtime.bpe import parse_encoder
from edgewhisper.runtime.speculation.phrases import Phrases

NGRAM = "ngram"


def read_phrases(choice: str, vocabulary: Vocabulary) -> Phrases | None:
    """The phrases that `--draft ngram` or `--draft ngram:FILE` asks for, one a line; None of another choice.

    Without a file, only the text so far is looked up.

    Raises:
        UsageError: the file cannot be read, is no UTF-8 text, or is empty.
    """
    name, separator, file = choice.partition(":")
    if name != NGRAM:
        return None
    if not separator:
        return Phrases.of([])
    try:
        text = Path(file).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(
            f"draft '{choice}': {file or 'a file without a name'} cannot be read ({error.strerror}); "
            "give a text file with a phrase a line"
        ) from None
    except UnicodeDecodeError:
        raise UsageError(f"draft '{choice}': {file} is no UTF-8 text; give a phrase a line") from None
    lines = [line.strip() for line in text.splitlines()]
    try:
        encoder = parse_encoder(vocabulary.tokenizer_json, "the vocabulary")
    except ArtifactError as error:
        raise UsageError(f"draft '{choice}': {error}") from None
    # Whisper's text begins with a space.
    texts = [encoder.encode(f" {line}") for line in lines if line]
    if not texts:
        raise UsageError(f"draft '{choice}': {file} has no text; give a phrase a line")
    return Phrases.of(texts)
