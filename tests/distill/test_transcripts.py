"""Folders of recordings with a table of what is said in them."""

from pathlib import Path

import numpy as np
import pytest

from edgewhisper.distill.espeak import Word
from edgewhisper.distill.recordings import Recording, SpokenSentence
from edgewhisper.distill.transcripts import (
    TimedText,
    describe,
    read_recording,
    read_table,
    write_recording,
    write_table,
)
from edgewhisper.errors import AudioError


def recording() -> Recording:
    samples = np.random.default_rng(0).integers(-32768, 32768, 24000).astype(np.int16)
    words = (Word("Öffne", 0.101, 0.5), Word("„Tür“.", 0.5, 1.299))
    return Recording(samples, "de", "de+f1", (SpokenSentence("Öffne „Tür“.", words),))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    original = recording()
    transcript = describe(original, "one.flac", "german")
    write_recording(tmp_path, "one.flac", original.samples)
    write_table(tmp_path, [transcript])
    assert read_table(tmp_path) == [transcript]
    np.testing.assert_array_equal(read_recording(tmp_path, transcript), original.samples)


def test_a_transcript_tells_text_duration_and_segments_in_hundredths() -> None:
    transcript = describe(recording(), "one.flac", "german")
    assert transcript.text == "Öffne „Tür“."
    assert transcript.duration == 1.5
    assert transcript.segments == (TimedText(0.1, 1.3, "Öffne „Tür“."),)


def test_quotation_marks_need_no_escape(tmp_path: Path) -> None:
    words = (Word('"Stop"', 0.0, 0.5), Word("it's", 0.5, 1.0))
    item = describe(
        Recording(np.zeros(16000, np.int16), "en", "en", (SpokenSentence("", words),)), "a.flac", "seen"
    )
    write_table(tmp_path, [item])
    assert read_table(tmp_path) == [item]


def test_a_folder_without_a_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=str(tmp_path)):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("part", "damage"), [("file\t", ""), ("\t1.50\t", "\tlong\t"), ("[[", "[{"), ("\tde\t", "\t")]
)
def test_a_damaged_table_is_named(tmp_path: Path, part: str, damage: str) -> None:
    write_table(tmp_path, [describe(recording(), "one.flac", "german")])
    table = tmp_path / "transcripts.tsv"
    table.write_text(table.read_text().replace(part, damage, 1))
    with pytest.raises(AudioError, match=r"transcripts\.tsv"):
        read_table(tmp_path)


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"one\.flac"):
        read_recording(tmp_path, describe(recording(), "one.flac", "german"))
