from collections.abc import Sequence
from pathlib import Path

import pytest

from edgewhisper import Transcriber
from tests.conftest import BundledRecording
from tests.fake_arecord import FakeArecord, install


@pytest.fixture
def arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeArecord:
    """The program that records, and no long wait until a microphone is tried again."""
    monkeypatch.setattr("edgewhisper.runtime.listening.microphone.RETRY", 0.05)
    return install(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def transcriber(demo_artifact: Path) -> Transcriber:
    return Transcriber(demo_artifact, threads=2)


@pytest.fixture(scope="module")
def said(recordings: Sequence[BundledRecording]) -> list[BundledRecording]:
    """Some recordings of one sentence each, which the model knows in whatever silence they stand."""
    names = ("seen-004", "seen-010", "german-001", "unseen-001")
    return [recording for recording in recordings if recording.path.stem in names]
