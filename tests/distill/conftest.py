import shutil

import pytest


@pytest.fixture(scope="session")
def espeak() -> None:
    """Skips a test where espeak-ng is not installed: it makes the training data and nothing else."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
