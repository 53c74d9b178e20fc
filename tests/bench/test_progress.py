"""What a run says it does."""

import time

import pytest

from edgewhisper.bench import progress
from edgewhisper.bench.progress import Progress


def test_lines_have_the_time_and_of_those_that_come_too_fast_the_last_one_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "BETWEEN", 0.3)
    said = Progress()
    for name in ("one", "two", "three"):
        said.tell(name)
    assert capsys.readouterr().err == "[  0:00] one\n"
    time.sleep(0.6)
    assert capsys.readouterr().err == "[  0:00] three\n"


def test_nothing_is_shown_after_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "BETWEEN", 0.1)
    said = Progress()
    said.tell("one")
    said.tell("two")
    said.end()
    time.sleep(0.2)
    assert capsys.readouterr().err == "[  0:00] one\n"
