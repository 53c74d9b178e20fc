"""The special tokens and rules of generation that a transformers folder states, in generation_config.json."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgewhisper.artifact import TokenIds
from edgewhisper.errors import CheckpointError

from .checkpoint import Vocabulary
from .generation import ENGLISH_ONLY_VOCABULARY, find_token_ids, with_original_rules
from .json_file import read_json_object

_ORIGINAL_LIST = -1  # in a list of suppressed tokens: openai-whisper's own (its option `suppress_tokens`)


def read_token_ids(folder: Path, config: Mapping[str, Any], vocabulary: Vocabulary) -> TokenIds:
    """Special tokens by name, overruled by generation_config.json; config.json in its place in old checkpoints.

    What is absent or null is what the vocabulary says. -1 among `suppress_tokens` stands for openai-whisper's list, as
    in that program and those that follow it; transformers 4.57 suppresses nothing for it.

    Raises:
        CheckpointError: a value is none of this vocabulary, or has another type; the message names its key.
    """
    path = folder / "generation_config.json"
    values = read_json_object(path) if path.is_file() else config
    size = len(vocabulary.tokens)
    settings = _Settings(path if path.is_file() else folder / "config.json", values, size)
    languages = settings.named_ids("lang_to_id")
    multilingual = settings.flag("is_multilingual", bool(languages) or size != ENGLISH_ONLY_VOCABULARY)
    ids = find_token_ids(vocabulary.tokens, multilingual=multilingual, source=str(folder))
    tasks = settings.named_ids("task_to_id")
    no_timestamps = settings.token_id("no_timestamps_token_id", ids.no_timestamps)
    if no_timestamps + 1 == size:
        raise settings.error("no_timestamps_token_id", "must have the timestamps after it")
    ids = replace(
        ids,
        end_of_text=settings.token_id("eos_token_id", ids.end_of_text),
        start_of_transcript=settings.token_id("decoder_start_token_id", ids.start_of_transcript),
        transcribe=tasks.get("transcribe", ids.transcribe),
        translate=tasks.get("translate", ids.translate),
        start_of_previous=settings.token_id("prev_sot_token_id", ids.start_of_previous),
        no_timestamps=no_timestamps,
        timestamp_begin=no_timestamps + 1,
        languages={name.strip("<|>"): token_id for name, token_id in languages.items()}
        if languages and multilingual
        else ids.languages,
        begin_suppress=settings.token_ids("begin_suppress_tokens"),
        max_initial_timestamp_index=settings.index("max_initial_timestamp_index"),
        alignment_heads=settings.pairs("alignment_heads"),
    )
    suppress = settings.token_ids("suppress_tokens", also=_ORIGINAL_LIST)
    if _ORIGINAL_LIST in suppress:
        original = with_original_rules(ids, vocabulary.tokens).suppress
        suppress = tuple(sorted({*suppress, *original} - {_ORIGINAL_LIST}))
    return replace(ids, suppress=suppress)


@dataclass(frozen=True)
class _Settings:
    """The keys of one JSON object, read as what they must be; null counts as absent."""

    path: Path
    values: Mapping[str, Any]
    size: int  # of the vocabulary

    def error(self, key: str, expected: str) -> CheckpointError:
        found = repr(self.values[key]) if key in self.values else "absent"
        return CheckpointError(f"{self.path}: '{key}' {expected}, not {found:.80}; restore the file")

    def flag(self, key: str, default: bool) -> bool:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.error(key, "must be true or false")
        return default if value is None else value

    def token_id(self, key: str, default: int) -> int:
        """One id; a list of one is that one, as transformers writes several ends of text as a list."""
        value = self.values.get(key)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if value is None:
            return default
        if not self._is_token_id(value):
            raise self.error(key, f"must be a token id below {self.size}")
        return int(value)

    def token_ids(self, key: str, also: int | None = None) -> tuple[int, ...]:
        """A list of ids, in which `also` may stand too."""
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(
            self._is_token_id(item) or (also is not None and item == also) for item in value
        ):
            raise self.error(key, f"must be a list of token ids below {self.size}")
        return tuple(value)

    def named_ids(self, key: str) -> dict[str, int]:
        """Names with their ids, without those whose id is null."""
        value = self.values.get(key) or {}
        if not isinstance(value, dict) or not all(
            item is None or self._is_token_id(item) for item in value.values()
        ):
            raise self.error(key, f"must name token ids below {self.size}")
        return {name: item for name, item in value.items() if item is not None}

    def index(self, key: str) -> int | None:
        value = self.values.get(key)
        if value is not None and (type(value) is not int or value < 0):
            raise self.error(key, "must be a number from 0 on")
        return value

    def pairs(self, key: str) -> tuple[tuple[int, int], ...]:
        """Pairs of numbers from 0 on."""
        value = self.values.get(key) or []
        if not isinstance(value, list) or not all(
            isinstance(pair, list) and [type(item) for item in pair] == [int, int] and min(pair) >= 0
            for pair in value
        ):
            raise self.error(key, "must be a list of pairs of layer and head")
        return tuple((layer, head) for layer, head in value)

    def _is_token_id(self, value: object) -> bool:
        return type(value) is int and 0 <= value < self.size
