from pathlib import Path

import pytest

from tests.fake_arecord import FakeArecord, install


@pytest.fixture
def arecord(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeArecord:
    """The program that records, and no long wait until a microphone is tried again."""
    monkeypatch.setattr("edgewhisper.runtime.listening.microphone.RETRY", 0.05)
    return install(tmp_path, monkeypatch)
