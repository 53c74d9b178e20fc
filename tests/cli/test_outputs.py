import errno
from pathlib import Path

import pytest

from edgewhisper.cli.outputs import open_output, plan_outputs
from edgewhisper.errors import OutputError, UsageError


def test_without_a_folder_text_goes_to_standard_output() -> None:
    assert plan_outputs(["a.wav", "-"], None, "txt", overwrite=False) == [None, None]


def test_with_a_folder_each_recording_has_a_file(tmp_path: Path) -> None:
    planned = plan_outputs(["x/a.b.wav", "-"], tmp_path, "srt", overwrite=False)
    assert planned == [tmp_path / "a.b.srt", tmp_path / "stdin.srt"]


def test_two_recordings_do_not_share_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"x/a\.wav and y/a\.flac would both be written to .*a\.txt"):
        plan_outputs(["x/a.wav", "y/a.flac"], tmp_path, "txt", overwrite=False)


def test_a_recording_that_is_named_twice_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^x/a\.wav is named twice"):
        plan_outputs(["x/a.wav", "b.wav", "x/a.wav"], tmp_path, "txt", overwrite=False)


@pytest.mark.parametrize("below", ["", "deep/er"])
def test_a_folder_that_is_a_file_is_found_before_anything_is_read(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UsageError, match=r"file is a file; give a folder"):
        plan_outputs(["a.wav"], tmp_path / "file" / below, "txt", overwrite=True)


def test_a_relative_folder_need_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert plan_outputs(["a.wav"], Path("new/text"), "txt", overwrite=False) == [Path("new/text/a.txt")]


def test_standard_input_is_read_once() -> None:
    with pytest.raises(UsageError, match="named twice"):
        plan_outputs(["-", "-"], None, "txt", overwrite=False)


@pytest.mark.parametrize("extension", ["json", "srt", "vtt", "tsv"])
def test_structured_transcripts_do_not_run_into_each_other(extension: str) -> None:
    assert plan_outputs(["a.wav"], None, extension, overwrite=False) == [None]
    with pytest.raises(UsageError, match="add -o DIR"):
        plan_outputs(["a.wav", "b.wav"], None, extension, overwrite=False)


def test_a_transcript_is_replaced_only_on_request(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(UsageError, match=r"a\.txt: exists; add --overwrite"):
        plan_outputs(["a.wav"], tmp_path, "txt", overwrite=False)
    assert plan_outputs(["a.wav"], tmp_path, "txt", overwrite=True) == [tmp_path / "a.txt"]


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with open_output(path) as file:
        file.write("grün\n")
        file.flush()
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "grün\n"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written \(No space left on device\)"):
        fill_the_disk(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), open_output(tmp_path / "file" / "a.txt"):
        pass


def fill_the_disk(path: Path) -> None:
    with open_output(path) as file:
        file.write("new")
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_folder_named_like_a_transcript_was_meant_to_be_a_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out\.srt: names a file, -o takes a folder"):
        plan_outputs(["a.wav"], tmp_path / "out.srt", "srt", overwrite=False)
    (tmp_path / "out.srt").mkdir()
    assert plan_outputs(["a.wav"], tmp_path / "out.srt", "srt", overwrite=False) == [
        tmp_path / "out.srt" / "a.srt"
    ]
