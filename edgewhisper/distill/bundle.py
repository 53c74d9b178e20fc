"""Puts the finished model, some held-out recordings and the card where the package carries them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from .card import TrainingRecord, write_card
from .evaluation import Report
from .transcripts import Transcript, read_table, write_table

_CLIPS = {"seen": 12, "unseen": 10, "german": 14}
_LONG = 7
_LONG_SECONDS = (20.0, 60.0)
_BLANKS = ("silence", "noise", "music")


def write_bundle(
    model_directory: Path, evaluation_directory: Path, report: Report, record: TrainingRecord, directory: Path
) -> None:
    """Replaces `directory` by the model with `recordings/` and `CARD.md`."""
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(model_directory, partial)
    recordings = partial / "recordings"
    recordings.mkdir()
    chosen = choose(read_table(evaluation_directory))
    for transcript in chosen:
        shutil.copyfile(evaluation_directory / transcript.file, recordings / transcript.file)
    write_table(recordings, chosen)
    write_card(partial / "CARD.md", report, record)
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


def choose(transcripts: Sequence[Transcript]) -> list[Transcript]:
    """The first recordings of each group, not too long, and one of each kind without speech."""
    chosen: list[Transcript] = []
    for group, count in _CLIPS.items():
        chosen += [item for item in transcripts if item.group == group][:count]
    fitting = [
        item
        for item in transcripts
        if item.group == "long" and _LONG_SECONDS[0] <= item.duration <= _LONG_SECONDS[1]
    ]
    chosen += fitting[:_LONG]
    for kind in _BLANKS:
        chosen.append(next(item for item in transcripts if item.group == "blank" and item.voice == kind))
    return chosen
