"""Whisper's real vocabularies, from the assets of the openai-whisper package (which is not imported: it loads torch)."""

import base64
import importlib.util
from functools import cache
from pathlib import Path

from edgewhisper.errors import CheckpointError, MissingDependencyError

from .checkpoint import Vocabulary
from .generation import LANGUAGES, LANGUAGES_BEFORE_V3, special_tokens
from .tokenizer import build_vocabulary

# Vocabulary size -> (asset, language tokens). English-only vocabularies list the languages too.
_VOCABULARIES = {
    51_864: ("gpt2.tiktoken", LANGUAGES_BEFORE_V3),
    51_865: ("multilingual.tiktoken", LANGUAGES_BEFORE_V3),
    51_866: ("multilingual.tiktoken", len(LANGUAGES)),
}


@cache
def whisper_vocabulary(vocab_size: int) -> Vocabulary:
    """Whisper's vocabulary of a size: 51864 English-only, 51865 multilingual, 51866 large-v3.

    Raises:
        CheckpointError: Whisper has no vocabulary of that size.
        MissingDependencyError: openai-whisper is not installed.
    """
    if vocab_size not in _VOCABULARIES:
        raise CheckpointError(
            f"Whisper has no vocabulary of {vocab_size} tokens; put the model's tokenizer.json beside it"
        )
    asset, languages = _VOCABULARIES[vocab_size]
    return build_vocabulary(_read_tiktoken(_assets() / asset), special_tokens(languages))


def _assets() -> Path:
    package = importlib.util.find_spec("whisper")
    for folder in package.submodule_search_locations or () if package else ():
        if (Path(folder) / "assets" / "gpt2.tiktoken").is_file():
            return Path(folder) / "assets"
    raise MissingDependencyError(
        "Whisper's vocabulary comes from the openai-whisper package; install it with: pip install 'edgewhisper[vocab]'"
    )


def _read_tiktoken(path: Path) -> list[bytes]:
    """The tokens of a .tiktoken file (lines of base64 token and rank), by rank."""
    lines = (line.split() for line in path.read_bytes().splitlines() if line)
    ranks = {int(rank): base64.b64decode(token) for token, rank in lines}
    return [ranks[rank] for rank in range(len(ranks))]
