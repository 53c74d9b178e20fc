"""Whisper's byte-level BPE vocabulary: tokenizer.json <-> a table of ids to bytes.

Byte-level BPE (GPT-2) writes each byte as one printable character; a `tokenizers` file lists tokens in those characters
and merges in the order of training. tiktoken keeps only the bytes and their rank, from which the merges follow: a token
came from the two parts into which the merges of lower rank divide its bytes.
"""

import json
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from edgewhisper.errors import CheckpointError

from .checkpoint import Vocabulary

TIMESTAMP = re.compile(r"<\|\d+\.\d\d\|>")


def _byte_alphabet() -> dict[int, str]:
    printable = {
        *range(ord("!"), ord("~") + 1),
        *range(ord("¡"), ord("¬") + 1),
        *range(ord("®"), ord("ÿ") + 1),
    }
    others = (byte for byte in range(256) if byte not in printable)
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}


_CHARACTER_OF = _byte_alphabet()
_BYTE_OF = {character: byte for byte, character in _CHARACTER_OF.items()}


def to_characters(token: bytes) -> str:
    """A token as byte-level BPE writes it: b" the" -> "Ġthe"."""
    return "".join(_CHARACTER_OF[byte] for byte in token)


def to_bytes(characters: str) -> bytes:
    """The bytes of a token written in the byte alphabet; what is not written in it is taken literally."""
    if any(character not in _BYTE_OF for character in characters):
        return characters.encode()
    return bytes(_BYTE_OF[character] for character in characters)


def encode_piece(piece: bytes, ranks: Mapping[bytes, int], below: int | None = None) -> list[bytes]:
    """Divide bytes into tokens by merging the neighbours of lowest rank first (BPE, as tiktoken does it).

    Args:
        piece: one pre-tokenized piece, e.g. b" the".
        ranks: token -> rank; every single byte is expected in it.
        below: use only merges of a rank lower than this.
    """
    parts = [piece[i : i + 1] for i in range(len(piece))]
    while len(parts) > 1:
        pairs = [ranks.get(left + right) for left, right in pairwise(parts)]
        found = [
            (rank, i) for i, rank in enumerate(pairs) if rank is not None and (below is None or rank < below)
        ]
        if not found:
            break
        _, at = min(found)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def merges_from_ranks(ranks: Mapping[bytes, int]) -> list[tuple[bytes, bytes]]:
    """The BPE merges of a tiktoken vocabulary, in the order of training."""
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = encode_piece(token, ranks, below=rank)
        if len(parts) == 2:
            merges.append((parts[0], parts[1]))
    return merges


def build_vocabulary(base: Sequence[bytes], special: Sequence[str]) -> Vocabulary:
    """A vocabulary from its base tokens (id = rank) and the special tokens that follow them."""
    ranks = {token: rank for rank, token in enumerate(base) if token}
    merges = [(to_characters(left), to_characters(right)) for left, right in merges_from_ranks(ranks)]
    vocabulary = {to_characters(token): rank for rank, token in enumerate(base)}
    special_ids = {token: len(base) + i for i, token in enumerate(special)}
    return Vocabulary(
        tokens=(*base, *(token.encode() for token in special)),
        tokenizer_json=write_tokenizer_json(vocabulary, merges, special_ids),
    )


def write_tokenizer_json(
    vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]], special: Mapping[str, int]
) -> bytes:
    """A `tokenizers` file of a byte-level BPE vocabulary.

    Args:
        vocabulary: base tokens, written in the byte alphabet -> id.
        merges: pairs of tokens in the order of training.
        special: special and timestamp tokens, literally -> id.
    """
    byte_level = {"type": "ByteLevel", "trim_offsets": True, "use_regex": True}
    added = [
        {
            "id": token_id,
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": TIMESTAMP.fullmatch(token) is None,
        }
        for token, token_id in sorted(special.items(), key=lambda item: item[1])
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level | {"add_prefix_space": False},
        "post_processor": None,
        "decoder": byte_level | {"add_prefix_space": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": dict(sorted(vocabulary.items(), key=lambda item: item[1])),
            "merges": [list(pair) for pair in merges],
        },
    }
    return json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")).encode()


def read_tokenizer_json(data: bytes, vocab_size: int, source: str) -> Vocabulary:
    """The id -> bytes table of a `tokenizers` file.

    Timestamp tokens that follow "<|0.00|>" and other ids that the file does not list are common in fine-tuned
    checkpoints: the former are named, the latter are empty.

    Args:
        data: the contents of tokenizer.json.
        vocab_size: rows of the model's embedding table.
        source: the file's name, for messages.

    Raises:
        CheckpointError: not a byte-level BPE tokenizer, or one with more tokens than the model.
    """
    try:
        tokenizer: dict[str, Any] = json.loads(data)
        by_id = {int(token_id): to_bytes(token) for token, token_id in tokenizer["model"]["vocab"].items()}
        by_id |= {int(item["id"]): str(item["content"]).encode() for item in tokenizer["added_tokens"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise CheckpointError(
            f"{source}: not a byte-level BPE tokenizer; download the checkpoint again"
        ) from None
    if not by_id or min(by_id) < 0 or max(by_id) >= vocab_size:
        raise CheckpointError(
            f"{source}: token ids reach {max(by_id, default=0)}, the model has {vocab_size}; "
            "the tokenizer belongs to another model"
        )
    timestamps = [token_id for token_id, token in by_id.items() if token == b"<|notimestamps|>"]
    for token_id in range(timestamps[0] + 1 if timestamps else vocab_size, vocab_size):
        by_id.setdefault(token_id, timestamp_token(token_id - timestamps[0] - 1).encode())
    return Vocabulary(tuple(by_id.get(token_id, b"") for token_id in range(vocab_size)), data)


def timestamp_token(index: int) -> str:
    """The timestamp token `index` steps of 0.02 s after "<|0.00|>"."""
    return f"<|{index * 0.02:.2f}|>"
