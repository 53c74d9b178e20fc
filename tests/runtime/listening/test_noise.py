"""Silence, noise and music say nothing, however long, and take no memory."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgewhisper import Listener, Transcriber
from edgewhisper.runtime.listening.sources import Block
from edgewhisper.runtime.listening.voice_activity import EnergyGate, Silero
from edgewhisper.runtime.memory import resident_memory
from tests.runtime.listening.noises import pieces


class Noise:
    """Noises in turn, at infinite speed; remembers what the process took."""

    name, can_wait = "noise", True

    def __init__(self, seconds: float, of_each: float, seed: int) -> None:
        self._noise = (seconds, of_each, seed)
        self.memory: list[int] = []

    def blocks(self, stopped: threading.Event) -> Iterator[Block]:
        for piece in pieces(*self._noise):
            self.memory.append(resident_memory())
            for start in range(0, len(piece), 8000):
                yield Block(np.clip(piece[start : start + 8000], -1, 1))


@pytest.mark.parametrize("make", [pytest.param(Silero, marks=pytest.mark.slow), EnergyGate])
def test_noise_has_no_text(make: Callable[[], Silero | EnergyGate], transcriber: Transcriber) -> None:
    assert list(Listener(transcriber, Noise(14, 2, seed=3), voice=make())) == []


@pytest.mark.slow
@pytest.mark.parametrize("make", [Silero, EnergyGate])
def test_half_an_hour_of_noise_has_no_text_and_takes_no_memory(
    make: Callable[[], Silero | EnergyGate], transcriber: Transcriber
) -> None:
    noise = Noise(1800, 10, seed=0)
    assert list(Listener(transcriber, noise, voice=make())) == []
    settled = noise.memory[len(noise.memory) // 3 :]
    assert max(settled) - settled[0] < 5_000_000
