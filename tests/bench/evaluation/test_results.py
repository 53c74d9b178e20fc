"""Files of results: whole lines, whatever happens; and files that are something else."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.bench.evaluation.results import (
    Header,
    Result,
    ResultsFile,
    printable,
    read_header,
    read_results,
)
from edgewhisper.errors import UsageError

HEADER = Header("int8", "base.en", "0" * 64, "corpus", {"language": "null"})
RESULTS = [
    Result("a.wav", "s1", "one", "one", "en", (1, 2), 1.5, 0.25),
    Result("b.wav", "s2", None, "two\nlines \u2028 and\ttabs", "en"),
    Result("c.wav", "s3", "ä", None, problem="c.wav: is empty"),
]


def write(path: Path, *results: Result) -> Path:
    with ResultsFile(path, HEADER) as file:
        for result in results:
            file.add(result)
    return path


def test_results_are_read_back(tmp_path: Path) -> None:
    path = write(tmp_path / "new" / "int8.jsonl", *RESULTS)
    assert read_header(path) == HEADER
    assert list(read_results(path)) == RESULTS


def test_of_several_results_of_a_recording_the_last_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", *RESULTS, replace(RESULTS[0], stamp="s9", text="other"))
    assert [result.text for result in read_results(path)] == [RESULTS[1].text, None, "other"]
    with ResultsFile(path, HEADER) as file:
        assert file.done == {"a.wav": "s9", "b.wav": "s2"}  # what failed is tried again


@given(st.data())
def test_wherever_writing_was_cut_off_the_rest_is_gone_on_with(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "r.jsonl", *RESULTS)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with ResultsFile(path, HEADER) as file:
        for result in RESULTS:
            if result.key not in file.done:
                file.add(result)
    assert list(read_results(path)) == RESULTS


def test_names_that_are_no_text_in_any_encoding_are_kept(tmp_path: Path) -> None:
    odd = replace(RESULTS[0], key="caf\udce9\t.wav")
    path = write(tmp_path / "r.jsonl", odd)
    assert list(read_results(path)) == [odd]
    assert printable(odd.key) == "caf\\udce9\\t.wav"


def test_two_processes_do_not_write_to_one_file(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", *RESULTS)
    with ResultsFile(path, HEADER), pytest.raises(UsageError, match="another process writes to it"):
        ResultsFile(path, HEADER)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"artifact_sha256": "1" * 64}, "another build of the artifact"),
        ({"corpus": "other"}, "another corpus"),
        ({"options": {"language": '"de"'}}, "another options"),
    ],
)
def test_results_of_something_else_are_not_gone_on_with(
    change: dict[str, str], words: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "r.jsonl", *RESULTS)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=f"holds results of {words}"):
        ResultsFile(path, replace(HEADER, **change))  # type: ignore[arg-type]
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"my thesis\n", "holds no results"),
        (b'{"schema": "other"}\n', "holds no results"),
        (b'{"schema": "edgewhisper-eval", "version": 0}\n', "version 0 is older than 1"),
        (b'{"schema": "edgewhisper-eval", "version": 99}\n', "version 99 is newer"),
        (b'{"schema": "edgewhisper-eval", "version": 1}\n', "holds no results"),
    ],
)
def test_other_files_are_left_alone(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=words):
        ResultsFile(path, HEADER)
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", ["{", "[]", '{"key": 1}', json.dumps({"key": "a"})])
def test_a_damaged_line_in_the_middle_is_named(line: str, tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", *RESULTS)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[2:]]) + "\n")
    with pytest.raises(UsageError, match=r"r\.jsonl: line 3 is damaged"):
        list(read_results(path))
