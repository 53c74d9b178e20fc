"""Corpora that are a table: Common Voice's, and `transcripts.tsv` as this project writes it."""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edgewhisper.errors import CorpusError

from .folders import NO_AUDIO, NO_TEXT
from .utterance import Corpus, Utterance

TRANSCRIPTS = "transcripts.tsv"
# Columns: the recording, its text, its language if there is such a column; and folders beside the table that recordings may lie in.
_FORMS = {("path", "sentence", "locale"): ("clips", "."), ("file", "text", "language"): (".",)}


def table(path: Path) -> Corpus:
    """A table with tabs: columns path and sentence (Common Voice), or file and text.

    Raises:
        CorpusError: it cannot be read, or has other columns.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            columns = next(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); restore the file") from None
    form = next((form for form in _FORMS if set(form[:2]) <= set(columns)), None)
    if form is None:
        raise CorpusError(
            f"{path}: has neither the columns path and sentence nor file and text; give a table of Common Voice, or {TRANSCRIPTS}"
        )
    return Corpus(str(path), partial(_rows, path, form))


def _rows(path: Path, form: tuple[str, str, str]) -> Iterator[Utterance]:
    name, text, language = form
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            for row in reader:
                if not row[name]:
                    raise CorpusError(f"{path}: line {reader.line_num} names no recording; correct the table")
                places = (path.parent / place / row[name] for place in _FORMS[form])
                audio = next((place for place in places if place.is_file()), None)
                said = row[text]  # None in a row that is too short
                problem = NO_AUDIO if audio is None else NO_TEXT if said is None else None
                yield Utterance(row[name], audio, said, row.get(language) or None, problem=problem)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read ({error}); restore the file") from None
