"""What is wrong in a hypothesis: edits of words and characters, and what nobody said."""

from collections import Counter
from dataclasses import dataclass

import jiwer

_GRAM = 5
"""Words of a phrase that is suspicious when it comes again."""


@dataclass(frozen=True)
class Counts:
    """Of one recording, after normalising.

    Attributes:
        words: of the reference.
        hits, substitutions, deletions, insertions: of words, in the shortest alignment.
        characters: of the reference, blanks between words counted.
        character_errors: edits of them.
        repeated: phrases of five words in the hypothesis that came before in it, more often than the reference repeats them.
    """

    words: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    characters: int
    character_errors: int
    repeated: int

    @property
    def errors(self) -> int:
        """Edits of words."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def wer(self) -> float:
        """Edits for each word of the reference; where there is none, 0 if nothing was written and else 1."""
        return self.errors / self.words if self.words else float(self.insertions > 0)


def count(reference: str, hypothesis: str) -> Counts:
    """Compare two normalised texts, either of which may be empty."""
    words, found = reference.split(), hypothesis.split()
    repeated = max(0, repetitions(found) - repetitions(words))
    if not words:
        return Counts(0, 0, 0, 0, len(found), 0, len(" ".join(found)), repeated)
    output = jiwer.process_words(reference, hypothesis)
    letters = jiwer.process_characters(" ".join(words), " ".join(found))
    return Counts(
        len(words),
        output.hits,
        output.substitutions,
        output.deletions,
        output.insertions,
        letters.hits + letters.substitutions + letters.deletions,
        letters.substitutions + letters.deletions + letters.insertions,
        repeated,
    )


def repetitions(words: list[str]) -> int:
    """How many phrases of five words come again."""
    grams = Counter(tuple(words[i : i + _GRAM]) for i in range(len(words) - _GRAM + 1))
    return sum(times - 1 for times in grams.values())


def aligned(reference: str, hypothesis: str, width: int = 100) -> str:
    """Two normalised texts word below word, with the edits marked, in three lines: REF, HYP and S, D or I.

    Longer ones are cut into pieces of `width` columns, of which those without edits are left out.
    """
    pieces, used = [list[tuple[str, str, str]]()], 0
    for row in _rows(reference, hypothesis):
        columns = max(map(len, row)) + 1
        if pieces[-1] and used + columns > width:
            pieces.append([])
            used = 0
        pieces[-1].append(row)
        used += columns
    return "\n".join(_piece(rows) for rows in pieces if any(mark for _, _, mark in rows))


def _rows(reference: str, hypothesis: str) -> list[tuple[str, str, str]]:
    """Word of the reference, word of the hypothesis, edit; stars where one has no word."""
    words, found = reference.split(), hypothesis.split()
    if not words:
        return [("*" * len(word), word, "I") for word in found]
    rows: list[tuple[str, str, str]] = []
    for chunk in jiwer.process_words(reference, hypothesis).alignments[0]:
        left = words[chunk.ref_start_idx : chunk.ref_end_idx]
        right = found[chunk.hyp_start_idx : chunk.hyp_end_idx]
        if chunk.type == "delete":
            rows += [(word, "*" * len(word), "D") for word in left]
        elif chunk.type == "insert":
            rows += [("*" * len(word), word, "I") for word in right]
        else:
            mark = "S" if chunk.type == "substitute" else ""
            rows += [(a, b, mark) for a, b in zip(left, right, strict=True)]
    return rows


def _piece(rows: list[tuple[str, str, str]]) -> str:
    widths = [max(map(len, row)) for row in rows]
    return "\n".join(
        f"{name} {' '.join(row[i].ljust(width) for row, width in zip(rows, widths, strict=True))}".rstrip()
        for i, name in enumerate(("REF", "HYP", "   "))
    )
