"""A service that many tests talk to."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.service.servers import Server


@pytest.fixture(scope="session")
def server(demo_artifact: Path) -> Iterator[Server]:
    """Serves the bundled model, with short patience for clients that say nothing and a short queue."""
    options = ("--timeout", "2", "--max-audio", "60", "--max-waiting", "3", "--threads", "1", "-v")
    with Server(demo_artifact, *options) as running:
        yield running
        assert running.terminate() == 0, running.log
        assert not [line for line in running.log if "Traceback" in line or "unexpected" in line]
