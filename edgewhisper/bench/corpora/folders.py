"""Corpora that are folders: LibriSpeech's layout, Kaldi's lists, and recordings with a transcript beside each."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from edgewhisper.errors import CorpusError

from .utterance import AUDIO_SUFFIXES, Corpus, Utterance

_ABOUT = ("readme", "license", "licence", "changelog", "copying", "speakers", "chapters", "books")
"""Names of texts about a corpus."""

NO_AUDIO, NO_TEXT = "there is no such recording", "there is no transcript"


def recordings_below(folder: Path) -> list[Path]:
    """The recordings in a folder and those below, sorted by name.

    Raises:
        CorpusError: it cannot be read.
    """
    try:
        return sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
        )
    except OSError as error:
        raise CorpusError(f"{folder}: cannot be read ({error.strerror}); name another corpus") from None


def read_lines(path: Path) -> list[tuple[str, str]]:
    """Lines of a key and what follows it, as Kaldi and LibriSpeech have them.

    Raises:
        CorpusError: no such file, or not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split(
            "\n"
        )  # a text may hold what else ends lines elsewhere
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise CorpusError(f"{path}: cannot be read ({reason}); restore the file") from None
    pairs = (line.strip().partition(" ") for line in (line.replace("\t", " ") for line in lines))
    return [(key, rest.strip()) for key, _, rest in pairs if key]


def plain_folder(folder: Path) -> Corpus:
    """Recordings, each with a .txt of its name beside it, or without."""
    recordings = recordings_below(folder)
    if not recordings:
        raise CorpusError(
            f"{folder}: holds no recording ({', '.join(AUDIO_SUFFIXES)}); name a folder that does"
        )
    return Corpus(str(folder), partial(_plain, folder, recordings), len(recordings))


def _plain(folder: Path, recordings: list[Path]) -> Iterator[Utterance]:
    for path in recordings:
        key, transcript = str(path.relative_to(folder)), path.with_suffix(".txt")
        if not transcript.is_file():
            yield Utterance(key, path, problem=NO_TEXT)
            continue
        try:
            yield Utterance(key, path, transcript.read_text(encoding="utf-8-sig").strip())
        except (OSError, UnicodeDecodeError):
            yield Utterance(key, path, problem=f"its transcript {transcript.name} cannot be read")
    known = {path.with_suffix(".txt") for path in recordings}
    for transcript in sorted(folder.rglob("*.txt")):
        if transcript not in known and transcript.stem.lower() not in _ABOUT:
            yield Utterance(str(transcript.relative_to(folder)), None, problem=NO_AUDIO)


LIBRISPEECH = "*.trans.txt"


def librispeech(folder: Path) -> Corpus:
    """Folders of a speaker's chapter, each with a list "ID TEXT" in SPEAKER-CHAPTER.trans.txt, and ID.flac."""
    return Corpus(str(folder), partial(_librispeech, folder))


def _librispeech(folder: Path) -> Iterator[Utterance]:
    for transcripts in sorted(folder.rglob(LIBRISPEECH)):
        recordings = {
            path.stem: path for path in transcripts.parent.iterdir() if path.suffix.lower() in AUDIO_SUFFIXES
        }
        listed = read_lines(transcripts)
        for key, text in listed:
            path = recordings.get(key)
            yield Utterance(key, path, text, problem=None if path else NO_AUDIO)
        for key in sorted(recordings.keys() - {key for key, _ in listed}):
            yield Utterance(key, recordings[key], problem=NO_TEXT)


KALDI = "wav.scp"
Parts = dict[str, tuple[str, tuple[float, float] | None]]
"""Utterance -> recording, and from when to when."""


def kaldi(folder: Path) -> Corpus:
    """A Kaldi data folder: wav.scp, text, and segments where recordings are cut into utterances; utt2lang if there is one."""
    recordings = dict(read_lines(folder / KALDI))
    commands = [key for key, value in recordings.items() if value.endswith("|")]
    if commands:
        raise CorpusError(
            f"{folder / KALDI}: '{commands[0]}' is a command, which is not run; write the recordings to files and list those"
        )
    texts = _optional(folder / "text")
    languages = _optional(folder / "utt2lang")
    parts: Parts = {key: (key, None) for key in recordings}
    if (folder / "segments").is_file():
        parts = _segments(folder / "segments")
    return Corpus(str(folder), partial(_kaldi, folder, recordings, parts, texts, languages), len(parts))


def _optional(path: Path) -> dict[str, str]:
    return dict(read_lines(path)) if path.is_file() else {}


def _segments(path: Path) -> Parts:
    parts: Parts = {}
    for key, rest in read_lines(path):
        try:
            recording, begin, end = rest.split()
            part = (float(begin), float(end))
        except ValueError:
            raise CorpusError(
                f"{path}: '{key}' is not followed by a recording and two times; correct it"
            ) from None
        if not 0 <= part[0] < part[1] < math.inf:
            raise CorpusError(f"{path}: '{key}' goes from {begin} to {end} s; correct it")
        parts[key] = (recording, part)
    return parts


def _kaldi(
    folder: Path, recordings: dict[str, str], parts: Parts, texts: dict[str, str], languages: dict[str, str]
) -> Iterator[Utterance]:
    for key, (recording, part) in parts.items():
        path = None
        if recording in recordings:
            path = folder / recordings[recording]
            if not path.is_file():  # relative to where Kaldi was run, perhaps
                path = Path(recordings[recording])
        found = path is not None and path.is_file()
        problem = NO_AUDIO if not found else NO_TEXT if key not in texts else None
        yield Utterance(key, path if found else None, texts.get(key), languages.get(key), part, problem)
    for key in sorted(texts.keys() - parts.keys()):
        yield Utterance(key, None, texts[key], problem=NO_AUDIO)
