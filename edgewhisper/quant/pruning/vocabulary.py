"""Vocabulary pruning: the tokens that can occur, and nothing else.

Whisper's token table is its output head too: 70 % of a decoder step of tiny, 55 % of base. Fewer rows make both smaller.

Text is exact. Greedy decoding takes the token of the highest logit; the logits of kept tokens do not change, so wherever
the whole vocabulary's choice is kept, it is still the highest. (`PreferTimestamps`, the one rule that sums probabilities,
compares timestamps, all of which are kept, with the highest other logit: the same holds.) By induction a window whose
tokens are all kept has the same tokens as before. What does change is probability, as the softmax has fewer terms:
log-probabilities and the no-speech probability rise a little, which the thresholds of the temperature fallback see; and
at a temperature above 0 other tokens are drawn.

The tokenizer stays exact as well: text whose tokens are all kept has the same tokens as before. Byte-level BPE applies
the merge of lowest rank until none applies. Every token that comes up on the way to a kept token is one of those that it
was merged from, and these are kept too (`with_ancestors`), with all their merges in the same order. So at each step the
merge that was applied is still there, and as no merge was added it is still the lowest. With all 256 bytes kept, any other
text has tokens too, only more of them.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edgewhisper.artifact import TokenIds
from edgewhisper.errors import UsageError
from edgewhisper.models.checkpoint import Checkpoint, Vocabulary

from .characters import ALWAYS_KEPT, Spelling, characters_of_language
from .choice import Characters, Corpus, Languages, VocabularyChoice
from .tensors import DerivedTensors, take_rows

TABLE = "decoder.embed_tokens.weight"
Encode = Callable[[str], Sequence[int]]
"""Text, taken literally -> token ids of the whole vocabulary."""

_LONGEST_EXCERPT = 40  # characters of a reference text in an error


@dataclass(frozen=True)
class VocabularyReport:
    """What pruning the vocabulary did.

    Attributes:
        choice: what was to be kept.
        tokens_before, tokens_after: rows of the table, special tokens and timestamps included.
        bytes_saved: of the table in fp32; an artifact holds it once.
    """

    choice: str
    tokens_before: int
    tokens_after: int
    bytes_saved: int


def prune_vocabulary(
    checkpoint: Checkpoint, choice: VocabularyChoice, references: Iterable[str], encode: Encode
) -> tuple[Checkpoint, VocabularyReport]:
    """Keep the tokens that can occur in text of the chosen kind, digits, punctuation, special tokens and timestamps.

    Args:
        checkpoint: with its whole vocabulary.
        choice: what to keep.
        references: texts that must stay possible: transcripts, one each.
        encode: the checkpoint's tokenizer.

    Raises:
        UsageError: a language that the model lacks, or a reference text that needs a token which would be dropped.
    """
    kept = kept_tokens(checkpoint, choice, encode)
    _check_references(checkpoint.vocabulary, choice, references, frozenset(kept), encode)
    pruned = keep_tokens(checkpoint, kept)
    before, after = len(checkpoint.vocabulary.tokens), len(kept)
    return pruned, VocabularyReport(
        choice=str(choice),
        tokens_before=before,
        tokens_after=after,
        bytes_saved=(before - after) * checkpoint.dimensions.d_model * np.dtype(np.float32).itemsize,
    )


def kept_tokens(checkpoint: Checkpoint, choice: VocabularyChoice, encode: Encode) -> tuple[int, ...]:
    """The ids to keep, ascending; the index of each is its new id.

    Raises:
        UsageError: a language that the model lacks.
    """
    tokens, ids = checkpoint.vocabulary.tokens, checkpoint.token_ids
    text = range(ids.end_of_text)
    dropped_languages: set[int] = set()
    characters = ALWAYS_KEPT
    if isinstance(choice, Languages):
        _check_languages(choice, ids)
        characters = characters.union(*map(characters_of_language, choice.codes))
        dropped_languages = {i for code, i in ids.languages.items() if code not in choice.codes}
    elif isinstance(choice, Characters):
        characters |= choice.characters
    spelling = Spelling(characters)
    chosen = {i for i in text if len(tokens[i]) == 1 or (tokens[i] and spelling.can_contain(tokens[i]))}
    if isinstance(choice, Corpus):
        chosen |= _tokens_of(choice.text, encode)
    kept = with_ancestors(chosen, checkpoint.vocabulary)
    return (*sorted(kept), *(i for i in range(len(text), len(tokens)) if i not in dropped_languages))


def keep_tokens(checkpoint: Checkpoint, kept: Sequence[int]) -> Checkpoint:
    """The checkpoint with the tokens `kept` alone; the order stays, so that timestamps stay in a row.

    Args:
        checkpoint: with its whole vocabulary.
        kept: ids, ascending; from `kept_tokens`.
    """
    new_ids = {old: new for new, old in enumerate(kept)}
    vocabulary = checkpoint.vocabulary
    return replace(
        checkpoint,
        dimensions=replace(checkpoint.dimensions, vocab_size=len(kept)),
        token_ids=_renumber(checkpoint.token_ids, new_ids),
        vocabulary=Vocabulary(
            tokens=tuple(vocabulary.tokens[i] for i in kept),
            tokenizer_json=_renumber_tokenizer(vocabulary.tokenizer_json, new_ids),
        ),
        tensors=DerivedTensors(checkpoint.tensors, {TABLE: take_rows(np.asarray(kept, np.intp))}),
    )


def with_ancestors(tokens: Iterable[int], vocabulary: Vocabulary) -> set[int]:
    """The tokens and all those that BPE merges on the way to them."""
    model = json.loads(vocabulary.tokenizer_json)["model"]
    ids: dict[str, int] = model["vocab"]
    parts: dict[int, set[int]] = {}
    for left, right in map(_pair, model["merges"]):
        parts.setdefault(ids[left + right], set()).update((ids[left], ids[right]))
    found: set[int] = set()
    waiting = list(tokens)
    while waiting:
        token = waiting.pop()
        if token not in found:
            found.add(token)
            waiting += parts.get(token, ())
    return found


def _tokens_of(text: str, encode: Encode) -> set[int]:
    """The tokens of a text: of each word after a space, and of those that begin a line also without one.

    Pieces of byte-level BPE do not reach beyond a space, so every word is encoded once, however often it occurs.
    """
    pieces: set[str] = set()
    for line in filter(None, map(str.strip, text.splitlines())):
        words = line.split(" ")
        pieces |= {words[0], *(f" {word}" for word in words if word)}
    return {token for piece in pieces for token in encode(piece)}


def _check_languages(choice: Languages, ids: TokenIds) -> None:
    offered = ids.languages or {"en": 0}
    for code in choice.codes:
        if code not in offered:
            raise UsageError(
                f"prune-vocabulary '{choice}': the model has no language '{code}'; it has {', '.join(sorted(offered))}"
            )


def _check_references(
    vocabulary: Vocabulary,
    choice: VocabularyChoice,
    references: Iterable[str],
    kept: frozenset[int],
    encode: Encode,
) -> None:
    """Check that each reference is possible, as Whisper writes it: after a space, or without one as in Chinese.

    Raises:
        UsageError: one is not; names the first token missing.
    """
    for reference in references:
        text = reference.strip()
        forms = [[token for token in encode(form) if token not in kept] for form in (f" {text}", text)]
        if all(forms):
            token = vocabulary.tokens[forms[0][0]].decode(errors="replace")
            excerpt = text if len(text) <= _LONGEST_EXCERPT else f"{text[:_LONGEST_EXCERPT]}..."
            raise UsageError(
                f"prune-vocabulary '{choice}': drops the token {token!r}, which the reference text {excerpt!r} needs; "
                "keep more, or leave the text out"
            )


def _renumber(ids: TokenIds, new_ids: dict[int, int]) -> TokenIds:
    def optional(token: int | None) -> int | None:
        return None if token is None else new_ids[token]

    def present(tokens: Iterable[int]) -> tuple[int, ...]:
        return tuple(new_ids[token] for token in tokens if token in new_ids)

    return replace(
        ids,
        end_of_text=new_ids[ids.end_of_text],
        start_of_transcript=new_ids[ids.start_of_transcript],
        transcribe=optional(ids.transcribe),
        translate=optional(ids.translate),
        start_of_previous=new_ids[ids.start_of_previous],
        no_speech=optional(ids.no_speech),
        no_timestamps=new_ids[ids.no_timestamps],
        timestamp_begin=new_ids[ids.timestamp_begin],
        languages={code: new_ids[token] for code, token in ids.languages.items() if token in new_ids},
        suppress=present(ids.suppress),
        begin_suppress=present(ids.begin_suppress),
    )


def _renumber_tokenizer(data: bytes, new_ids: dict[int, int]) -> bytes:
    """A `tokenizers` file of the kept tokens and the merges among them, in the same order.

    Without a post-processor: prompts are put together from `TokenIds`.
    """
    tokenizer: dict[str, Any] = json.loads(data)
    model = tokenizer["model"]
    kept = {token: new_ids[i] for token, i in model["vocab"].items() if i in new_ids}
    merges = [
        [left, right]
        for left, right in map(_pair, model["merges"])
        if left in kept and right in kept and left + right in kept
    ]
    added = [
        item | {"id": new_ids[item["id"]]} for item in tokenizer["added_tokens"] if item["id"] in new_ids
    ]
    renumbered = tokenizer | {
        "added_tokens": added,
        "post_processor": None,
        "model": model | {"vocab": kept, "merges": merges},
    }
    return json.dumps(renumbered, ensure_ascii=False, separators=(",", ":")).encode()


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """A merge, which old files write as one string."""
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right
