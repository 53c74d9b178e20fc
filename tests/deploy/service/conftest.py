"""A service that many tests talk to."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import BundledRecording
from tests.deploy.service.servers import Samples, Server, read_samples


@pytest.fixture(scope="session")
def server(demo_artifact: Path) -> Iterator[Server]:
    """Serves the bundled model, with a short queue."""
    yield from serve(demo_artifact, "--max-audio", "60", "--max-waiting", "3", "--threads", "1", "-v")


@pytest.fixture(scope="session")
def small_server(demo_artifact: Path) -> Iterator[Server]:
    """Has room for three clients and a megabyte of audio, and little patience."""
    options = ("--max-clients", "3", "--max-buffer", "1M", "--timeout", "3", "--load", "first-use")
    yield from serve(demo_artifact, *options)


@pytest.fixture(scope="session")
def long_speech(recordings: Sequence[BundledRecording]) -> Samples:
    """Speech of which several windows are transcribed one after the other."""
    clips = [read_samples(each.path) for each in recordings if each.group == "long"]
    return np.concatenate(clips)[: 40 * 16_000]


def serve(artifact: Path, *options: str) -> Iterator[Server]:
    with Server(artifact, *options) as running:
        yield running
        assert running.terminate() == 0, running.log
        assert not [line for line in running.log if "Traceback" in line or "unexpected" in line]
