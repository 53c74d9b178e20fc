"""Memory of whole processes that transcribe 30 s with INT8 graphs, by default and at the least."""

import sys
from pathlib import Path

import pytest

from edgewhisper.models.random_weights import write_random_checkpoint
from tests.e2e.test_resources import MEGABYTE, SECONDS, peak_of, write_noise

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]
TRANSCRIBING = ("--language", "en", "--temperature", "0", "--no-timestamps", "--threads", "2")


@pytest.mark.parametrize(("model", "usual", "least"), [("tiny.en", 160, 135), ("base.en", 230, 200)])
def test_int8_stays_within_what_is_promised(tmp_path: Path, model: str, usual: int, least: int) -> None:
    """The first transcription verifies checksums and probes kernels as well."""
    pytest.importorskip("whisper")
    checkpoint, artifact = tmp_path / "checkpoint", tmp_path / "artifact"
    write_random_checkpoint(model, checkpoint, tokens=100)
    options = ("--precision", "int8", "--gate", "off", "--no-parity")
    peak_of(tmp_path / "builder", "build", checkpoint, "-o", artifact, *options)
    speech = write_noise(tmp_path / "speech.wav", SECONDS)
    for most, settings in ((usual, ()), (least, ("--low-memory",))):
        peak = peak_of(tmp_path / "device", "transcribe", speech, "-a", artifact, *TRANSCRIBING, *settings)
        assert peak <= most * MEGABYTE, f"{settings}: {peak / MEGABYTE:.0f} MB"
