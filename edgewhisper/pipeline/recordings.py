"""Folders of recordings that a build reads: for calibration, and with transcripts for the gate's text."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from edgewhisper.artifact import sha256_of
from edgewhisper.bench.corpora.utterance import AUDIO_SUFFIXES
from edgewhisper.errors import AudioError, UsageError
from edgewhisper.models.cards import DEMO_FOLDER

BUNDLED_RECORDINGS = DEMO_FOLDER / "recordings"
# Of a larger folder, recordings at even distances.
MOST_RECORDINGS = 200


def list_recordings(folder: Path, purpose: str, most: int | None = MOST_RECORDINGS) -> list[Path]:
    """The recordings in a folder and the folders below, sorted by name.

    Args:
        folder: where they are.
        purpose: the option that names the folder, for messages.
        most: of a larger folder, so many at even distances; None: all.

    Raises:
        UsageError: the folder is missing, is a file, cannot be read, or holds no recording.
    """
    try:
        if not folder.is_dir():
            what = "is a file, not a folder" if folder.exists() else "no such folder"
            raise UsageError(f"{folder}: {what}; name a folder of recordings for {purpose}")
        next(folder.iterdir(), None)
        found = sorted(
            path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
        )
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot be read ({error.strerror}); name another folder for {purpose}"
        ) from None
    if not found:
        raise UsageError(
            f"{folder}: holds no recording ({', '.join(AUDIO_SUFFIXES)}); name a folder that does for {purpose}"
        )
    step = 1 if most is None else -(-len(found) // most)
    return found[::step]


def checksums(recordings: Sequence[Path]) -> list[str]:
    """The SHA-256 of each recording.

    Raises:
        AudioError: one cannot be read.
    """
    sums = []
    for path in recordings:
        try:
            sums.append(sha256_of(path))
        except OSError as error:
            raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    return sums


def set_checksum(sums: Sequence[str]) -> str:
    """One hash over a set of recordings, whatever they are called and in whatever order they lie."""
    return hashlib.sha256("".join(sorted(sums)).encode()).hexdigest()
