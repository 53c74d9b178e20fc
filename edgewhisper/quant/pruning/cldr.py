"""Makes `characters_of_languages.tsv` from the Unicode Common Locale Data Repository.

    python -m edgewhisper.quant.pruning.cldr /usr/share/unicode/cldr/common/main

(Debian's package unicode-cldr-core.) A language has the characters of its exemplar sets: main, auxiliary (of names and
loan words), punctuation and numbers, in every script that the repository lists for it. See
https://unicode.org/reports/tr35/tr35-general.html#Character_Elements.
"""

import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from edgewhisper.models.generation import LANGUAGES

from .characters import ALWAYS_KEPT, BLOCKS, TABLE, with_cases

# Whisper's codes that are another code there.
_NAMES = {"jw": "jv", "tl": "fil"}
# Languages without an entry there: the basic Latin or Russian alphabet and these.
_SUPPLEMENT = {
    "ba": "абвгдеёжзийклмнопрстуфхцчшщъыьэюяғҙҡңөҫүһә",
    "ht": "abcdefghijklmnopqrstuvwxyzàèéò",
    "la": "abcdefghijklmnopqrstuvwxyzāēīōūȳăĕĭŏŭæœ",
    "oc": "abcdefghijklmnopqrstuvwxyzáàâçéèêíìîïóòôúùûü",
}
_HEADER = """\
# The characters of Whisper's languages, lower case where there is one. Made by cldr.py from the Unicode Common Locale
# Data Repository, version 41 (languages that it lacks stand in cldr.py). Left out: what every language keeps, and whole
# blocks, see characters.py.
#
# Copyright © 1991-2022 Unicode, Inc. All rights reserved. Distributed under the Terms of Use in
# https://www.unicode.org/copyright.html.
#
# Permission is hereby granted, free of charge, to any person obtaining a copy of the Unicode data files and any
# associated documentation (the "Data Files") or Unicode software and any associated documentation (the "Software") to
# deal in the Data Files or Software without restriction, including without limitation the rights to use, copy,
# modify, merge, publish, distribute, and/or sell copies of the Data Files or Software, and to permit persons to whom
# the Data Files or Software are furnished to do so, provided that either (a) this copyright and permission notice
# appear with all copies of the Data Files or Software, or (b) this copyright and permission notice appear in
# associated Documentation.
#
# THE DATA FILES AND SOFTWARE ARE PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT
# NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT OF THIRD
# PARTY RIGHTS. IN NO EVENT SHALL THE COPYRIGHT HOLDER OR HOLDERS INCLUDED IN THIS NOTICE BE LIABLE FOR ANY CLAIM, OR
# ANY SPECIAL INDIRECT OR CONSEQUENTIAL DAMAGES, OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR
# PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH
# THE USE OR PERFORMANCE OF THE DATA FILES OR SOFTWARE.
#
# Except as contained in this notice, the name of a copyright holder shall not be used in advertising or otherwise to
# promote the sale, use or other dealings in these Data Files or Software without prior written authorization of the
# copyright holder.
"""
_ESCAPE = re.compile(r"\\u([0-9A-Fa-f]{4})|\\U([0-9A-Fa-f]{8})|\\(.)|(.)", re.DOTALL)


def exemplar_characters(pattern: str) -> Iterator[str]:
    """The characters of a CLDR set such as "[a b-d {ch} \\\\- \\\\u200C]"; those of a sequence one by one."""
    items: list[tuple[str, bool]] = []
    for match in _ESCAPE.finditer(pattern.strip().removeprefix("[").removesuffix("]")):
        if digits := match[1] or match[2]:
            items.append((chr(int(digits, 16)), True))
        else:
            items.append((match[3] or match[4], match[3] is not None))
    position = 0
    while position < len(items):
        character, literal = items[position]
        if literal or character not in " {}":
            following = items[position + 1 : position + 3]
            if len(following) == 2 and following[0] == ("-", False):
                yield from map(chr, range(ord(character), ord(following[1][0]) + 1))
                position += 2
            else:
                yield character
        position += 1


def characters_of(code: str, folder: Path) -> set[str]:
    """All exemplar characters of one of Whisper's languages, composed (NFC) where they can be."""
    if code in _SUPPLEMENT:
        return set(_SUPPLEMENT[code])
    name = _NAMES.get(code, code)
    found: set[str] = set()
    for path in [folder / f"{name}.xml", *folder.glob(f"{name}_[A-Z][a-z][a-z][a-z].xml")]:
        for element in ElementTree.parse(path).iterfind("characters/exemplarCharacters"):
            # The index set has the headings of a sorted list, Latin letters for Chinese.
            if element.get("type") != "index":
                found |= set(unicodedata.normalize("NFC", " ".join(exemplar_characters(element.text or ""))))
    return found


def table(folder: Path) -> str:
    """The whole table."""
    lines = []
    for code in sorted(LANGUAGES):
        found = characters_of(code, folder) - ALWAYS_KEPT
        found -= {
            character for character in found if any(ord(character) in block for block in BLOCKS.values())
        }
        capitals = {variant for character in found for variant in character.upper() if variant != character}
        stored = sorted(found - {capital for capital in capitals if capital.lower() in found})
        assert with_cases(stored) >= found
        lines.append(f"{code}\t{''.join(stored)}\n")
    return _HEADER + "".join(lines)


if __name__ == "__main__":
    TABLE.write_text(table(Path(sys.argv[1])), encoding="utf-8")
