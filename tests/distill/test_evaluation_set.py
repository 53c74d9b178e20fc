"""The evaluation set is large enough, held out, and the same wherever it is made."""

from pathlib import Path

import pytest

from edgewhisper.distill import espeak, evaluation_set
from edgewhisper.distill.evaluation_set import Definition, frozen_definition, write_evaluation_set
from edgewhisper.distill.sentences import Split, split_of
from edgewhisper.distill.transcripts import read_table
from edgewhisper.errors import EdgeWhisperError


def test_every_group_with_speech_has_three_thousand_words() -> None:
    words = frozen_definition().words
    assert set(words) == {"seen", "unseen", "german", "long", "blank"}
    assert all(count >= 3000 for group, count in words.items() if group != "blank")
    assert words["blank"] == 0


def test_an_existing_directory_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(EdgeWhisperError, match=str(tmp_path)):
        write_evaluation_set(tmp_path)


@pytest.mark.slow
@pytest.mark.usefixtures("espeak")
class TestMaking:
    def test_it_is_the_frozen_set_and_holds_nothing_that_training_hears(self, tmp_path: Path) -> None:
        if espeak.version() != frozen_definition().espeak_ng:
            pytest.skip("the set was frozen with another espeak-ng")
        directory = tmp_path / "set"
        assert write_evaluation_set(directory) == frozen_definition()
        transcripts = read_table(directory)
        assert all((directory / item.file).is_file() for item in transcripts)
        said = [segment.text for item in transcripts for segment in item.segments]
        assert all(split_of(sentence) is Split.HELD_OUT for sentence in said)
        assert sum(item.duration for item in transcripts if not item.text) >= 600
        assert all(20 <= item.duration <= 90 for item in transcripts if item.group == "long")

    def test_other_samples_are_refused_with_the_reason_and_nothing_is_left(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = Definition(espeak_ng="1.49", recordings=1, words={}, sha256="0" * 64)
        monkeypatch.setattr(evaluation_set, "frozen_definition", lambda: other)
        with pytest.raises(EdgeWhisperError, match=r"frozen with 1\.49"):
            write_evaluation_set(tmp_path / "set")
        assert list(tmp_path.iterdir()) == []
