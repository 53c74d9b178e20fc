import shutil
from collections.abc import Sequence
from pathlib import Path

import jiwer
import numpy as np
import pytest
import soundfile

from edgewhisper.bench.demo import Result, report, transcribe_all
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording


def result(group: str, reference: str, text: str, language: str = "en", detected: str = "en") -> Result:
    return Result("a.flac", group, language, reference, text, detected, duration=2.0, elapsed=0.5)


def test_text_stands_beside_the_reference_where_they_differ() -> None:
    lines = report(
        [result("seen", "Stop the music.", "stop the music"), result("seen", "Call Anna.", "Call Hanna.")]
    )
    assert "a.flac: right\n  stop the music\n" in lines
    assert "a.flac: different\n  said  Call Anna.\n  text  Call Hanna.\n" in lines


def test_each_group_has_its_error_rates() -> None:
    said, heard = ["one two three four", "five six"], ["one too three four", "five six seven"]
    lines = report([
        *(result("seen", reference, text) for reference, text in zip(said, heard, strict=True)),
        result("german", "ja gut", "ja gut", language="de", detected="en"),
    ]).splitlines()  # fmt: skip
    (seen,) = (line for line in lines if line.startswith("seen "))
    (german,) = (line for line in lines if line.startswith("german "))
    assert f"WER {100 * jiwer.wer(said, heard):.1f} %" in seen
    assert f"CER {100 * jiwer.cer(said, heard):.1f} %" in seen
    assert "6 words; language right in 2 of 2" in seen
    assert "WER 0.0 %" in german
    assert german.endswith("language right in 0 of 1")


def test_text_where_nobody_speaks_is_counted() -> None:
    assert "blank     text in 1 of 2 recordings without speech" in report(
        [result("blank", "", ""), result("blank", "", "Stop.")]
    )


def test_the_real_time_factor_is_time_over_audio() -> None:
    assert "4.0 s of audio in 1.00 s, real-time factor 0.250" in report([result("seen", "a", "a")] * 2)


def test_recordings_are_transcribed_in_the_order_of_the_table(
    demo_artifact: Path, recordings: Sequence[BundledRecording], tmp_path: Path
) -> None:
    chosen = [recording for recording in recordings if recording.group == "seen"][:2]
    rows = [f"{item.path.name}\t{item.group}\t{item.language}\t{item.text}" for item in chosen]
    for recording in chosen:
        shutil.copy(recording.path, tmp_path)
    soundfile.write(tmp_path / "silence.flac", np.zeros(16_000), 16_000)
    rows.append("silence.flac\tblank\ten\t")
    (tmp_path / "transcripts.tsv").write_text("\n".join(["file\tgroup\tlanguage\ttext", *rows]) + "\n")
    results = transcribe_all(demo_artifact, tmp_path)
    assert [found.reference for found in results] == [*(item.text for item in chosen), ""]
    transcriber = Transcriber(demo_artifact)
    for found, item in zip(results, chosen, strict=False):
        segments, info = transcriber.transcribe(item.path)
        assert found.text == "".join(segment.text for segment in segments).strip()
        assert found.duration == pytest.approx(soundfile.info(item.path).duration, abs=0.01)
        assert found.detected_language == info.language
    assert results[-1].text == ""
