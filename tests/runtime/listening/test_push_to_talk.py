"""The key Enter, or lines on a pipe."""

import io
import os
import threading
from typing import BinaryIO

import pytest

from edgewhisper.errors import UsageError
from edgewhisper.runtime.listening.push_to_talk import EnterKey


def test_every_line_changes_what_is_held_until_the_end() -> None:
    reader, writer = os.pipe()
    changes: list[bool] = []
    changed, ended = threading.Semaphore(0), threading.Event()

    def note(held: bool) -> None:
        changes.append(held)
        changed.release()

    with os.fdopen(reader, "rb") as file:
        key = EnterKey(file, note)
        key.start(ended.set)
        for expected in (True, False, True):
            os.write(writer, b"\n")
            assert changed.acquire(timeout=5)
            assert key.is_held() == expected
        os.write(writer, b"text is ignored")
        os.close(writer)
        assert ended.wait(5)
    assert changes == [True, False, True]
    assert not key.is_held(), "nobody is left to release it"


def test_two_strokes_at_once_are_two() -> None:
    reader, writer = os.pipe()
    changes: list[bool] = []
    ended = threading.Event()
    os.write(writer, b"\n\n")
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        EnterKey(file, changes.append).start(ended.set)
        assert ended.wait(5)
    assert changes == [True, False]


def test_what_is_no_standard_input_is_refused() -> None:
    nothing: BinaryIO = io.BytesIO()
    with pytest.raises(UsageError, match="push-to-talk reads the key Enter"):
        EnterKey(nothing, print)
