"""Utterances that wait for the decoder: bounded, so that memory is, and what is dropped is told."""

import threading
from collections import deque
from dataclasses import dataclass

from .frames import Speech


@dataclass(frozen=True)
class Lost:
    """An utterance that was dropped, as those before it took too long; positions as of `Speech`."""

    start: int
    end: int


class Backlog:
    """A queue from the thread that hears to the one that decodes."""

    def __init__(self, most: int) -> None:
        """Room for so many samples; one utterance always fits."""
        self._most = most
        self._waiting: deque[Speech | Lost] = deque()
        self._under_way: Speech | None = None
        self._is_closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, speech: Speech, can_wait: bool) -> None:
        """Add an utterance. Where there is no room this waits for it or, if it cannot, the oldest ones are dropped."""
        with self._changed:
            self._under_way = None
            if can_wait:
                self._changed.wait_for(lambda: self._is_closed or self._fits(speech))
            while not self._fits(speech):
                self._drop_the_oldest()
            self._waiting.append(speech)
            self._changed.notify_all()

    def show(self, under_way: Speech) -> None:
        """What has been said of an utterance that is not over; given out only while no other one waits."""
        with self._changed:
            self._under_way = under_way
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more is added; `error` is raised after what waits."""
        with self._changed:
            self._is_closed = True
            self._error = self._error or error
            self._changed.notify_all()

    def get(self) -> Speech | Lost | None:
        """The next utterance, over or under way, or what was dropped in its place; None after the last one.

        Raises:
            BaseException: what the backlog was closed with.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._under_way or self._is_closed)
            if self._waiting:
                item = self._waiting.popleft()
                self._changed.notify_all()
                return item
            if self._is_closed:
                if self._error is not None:
                    raise self._error
                return None
            under_way, self._under_way = self._under_way, None
            return under_way

    def _fits(self, speech: Speech) -> bool:
        waiting = sum(len(item.samples) for item in self._waiting if isinstance(item, Speech))
        return waiting == 0 or waiting + len(speech.samples) <= self._most

    def _drop_the_oldest(self) -> None:
        for index, item in enumerate(self._waiting):
            if isinstance(item, Speech):
                self._waiting[index] = Lost(item.voice_start, item.voice_end)
                return
