"""Recordings in processes of this machine: a process that dies takes nothing but what kills it along."""

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pytest

from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.bench.spreading import local
from edgewhisper.bench.spreading.local import local_engine
from edgewhisper.errors import EdgeWhisperError


@dataclass(frozen=True)
class Deed:
    key: str
    said: str


@dataclass(frozen=True)
class Killing:
    """One recording kills its process every time, another one once; the transcript is where that is marked."""

    threads: int | None = None
    provider: str = "cpu"
    starts: bool = True

    def with_threads(self, threads: int) -> Self:
        return replace(self, threads=threads)

    def start(self) -> Callable[[Utterance], Deed]:
        if not self.starts:
            raise EdgeWhisperError("it does not start")
        return self._do

    def _do(self, utterance: Utterance) -> Deed:
        marker = Path(utterance.text or "")
        if utterance.key == "killer" or (utterance.key == "once" and not marker.exists()):
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Deed(utterance.key, f"fine with {self.threads}")

    def lost(self, utterance: Utterance, problem: str) -> Deed:
        return Deed(utterance.key, problem)


def test_a_recording_whose_process_is_killed_does_not_take_others_along(tmp_path: Path) -> None:
    keys = [f"{number}" for number in range(5)] + ["killer", "5", "once", "6"]
    utterances = [Utterance(key, b"x", str(tmp_path / key)) for key in keys]
    found = list(local_engine(2)(Killing(threads=1), iter(utterances)))
    assert sorted(deed.key for deed in found) == sorted(keys)
    assert {deed.key: deed.said for deed in found if deed.said != "fine with 1"} == {
        "killer": "its process was killed 3 times"
    }


def test_a_recording_that_cannot_be_handed_over_any_more_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process dies between two recordings: the pool refuses the next one."""
    refused: list[str] = []

    class Refusing(ProcessPoolExecutor):
        def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Any:
            if arguments and arguments[0].key == "3" and not refused:
                refused.append("3")
                raise BrokenProcessPool
            return super().submit(function, *arguments, **named)

    monkeypatch.setattr(local, "ProcessPoolExecutor", Refusing)
    utterances = [Utterance(f"{number}", b"x", str(tmp_path / "marker")) for number in range(6)]
    found = list(local._Processes(1)(Killing(threads=1), iter(utterances)))
    assert refused == ["3"]
    assert sorted(deed.key for deed in found) == [utterance.key for utterance in utterances]


def test_processes_share_the_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    utterances = [Utterance("a", b"x"), Utterance("b", b"x")]
    found = list(local_engine(2)(Killing(), iter(utterances)))
    assert {deed.said for deed in found} == {"fine with 3"}


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_cannot_start_is_said_to_the_caller(jobs: int) -> None:
    with pytest.raises(EdgeWhisperError, match="it does not start"):
        list(local_engine(jobs)(Killing(starts=False), iter([Utterance("a", b"x")])))
