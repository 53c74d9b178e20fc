"""What waits for the decoder: in order, bounded, and what was dropped is told."""

import threading

import numpy as np
import pytest

from edgewhisper.runtime.listening.backlog import Backlog, Lost
from edgewhisper.runtime.listening.frames import Speech


def speech(number: int, length: int = 100, is_over: bool = True) -> Speech:
    start = number * 1000
    return Speech(
        start=start,
        samples=np.zeros(length, np.float32),
        voice_start=start + 10,
        voice_end=start + length - 10,
        heard_at=0.0,
        decided_at=0.0,
        ended_by="pause" if is_over else None,
    )


def starts(backlog: Backlog, count: int) -> list[int]:
    return [item.start for _ in range(count) if isinstance(item := backlog.get(), Speech)]


def test_utterances_come_in_order_and_end() -> None:
    backlog = Backlog(1000)
    for number in range(3):
        backlog.put(speech(number), can_wait=False)
    backlog.close()
    assert starts(backlog, 3) == [0, 1000, 2000]
    assert backlog.get() is None


def test_the_oldest_are_dropped_and_told_in_their_place() -> None:
    backlog = Backlog(250)
    for number in range(5):
        backlog.put(speech(number), can_wait=False)
    backlog.close()
    items = [backlog.get() for _ in range(5)]
    assert items[:3] == [Lost(number * 1000 + 10, number * 1000 + 90) for number in range(3)]
    assert [item.start for item in items[3:] if isinstance(item, Speech)] == [3000, 4000]


def test_an_utterance_that_is_longer_than_the_room_still_fits() -> None:
    backlog = Backlog(50)
    backlog.put(speech(0, length=400), can_wait=False)
    assert starts(backlog, 1) == [0]


def test_a_source_that_can_wait_loses_nothing() -> None:
    backlog = Backlog(150)

    def fill() -> None:
        for number in range(20):
            backlog.put(speech(number), can_wait=True)
        backlog.close()

    thread = threading.Thread(target=fill)
    thread.start()
    assert starts(backlog, 20) == [1000 * number for number in range(20)]
    thread.join(10)
    assert backlog.get() is None


def test_a_source_that_waits_for_room_is_let_go_when_nobody_takes_any_more() -> None:
    backlog = Backlog(150)
    backlog.put(speech(0), can_wait=True)
    thread = threading.Thread(target=backlog.put, args=[speech(1), True])
    thread.start()
    backlog.close()
    thread.join(10)
    assert not thread.is_alive()


def test_what_is_under_way_is_seen_only_while_nothing_waits() -> None:
    backlog = Backlog(1000)
    backlog.show(speech(1, is_over=False))
    assert starts(backlog, 1) == [1000]
    backlog.show(speech(2, is_over=False))
    backlog.put(speech(2, length=200), can_wait=False)
    item = backlog.get()
    assert isinstance(item, Speech)
    assert item.ended_by == "pause", "the whole has taken the place of its beginning"
    backlog.close()
    assert backlog.get() is None


def test_an_error_comes_after_what_was_heard_before_it() -> None:
    backlog = Backlog(1000)
    backlog.put(speech(0), can_wait=False)
    backlog.close(OSError("gone"))
    assert starts(backlog, 1) == [0]
    with pytest.raises(OSError, match="gone"):
        backlog.get()
