"""What building and transcribing take of a machine: memory, and nothing of its network.

Each runs in a process of its own, with a home that is empty, as on a device that has never transcribed.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgewhisper.models.random_weights import write_random_checkpoint
from tests.models.checkpoint_files import write_small_folder

MEGABYTE = 10**6
SECONDS = 30
SAMPLE_RATE = 16_000

RUN = """
    import json, sys
    from pathlib import Path
    from edgewhisper.cli.main import main

    assert main(sys.argv[1:]) == 0
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))
    print(json.dumps({"peak": peak, "loaded": [*sys.modules]}))
"""
# urllib3, which transformers loads, makes a socket to see whether IPv6 is there; so only its use counts.
NO_NETWORK = """
    import os, sys

    def refuse(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"):
            os.write(2, f"{event} {arguments}".encode())
            os._exit(99)

    sys.addaudithook(refuse)
"""


def run(code: str, home: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process whose home is `home`; everything that points elsewhere is unset."""
    home.mkdir(exist_ok=True)
    elsewhere = ("XDG_", "EDGEWHISPER_", "ORT_", "HF_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(elsewhere)}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env=environment | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def peak_of(home: Path, *arguments: str | Path) -> int:
    """The most resident memory of one command, in bytes."""
    done = run(RUN, home, *arguments)
    assert done.returncode == 0, done.stderr
    return int(json.loads(done.stdout.splitlines()[-1])["peak"])


def write_noise(path: Path, seconds: float) -> Path:
    noise = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    soundfile.write(path, noise.astype(np.float32), SAMPLE_RATE)
    return path


# Memory


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("model", "most_megabytes"), [("tiny.en", 270), ("base.en", 480)])
def test_a_build_takes_twice_the_checkpoint_and_a_transcription_what_is_promised(
    tmp_path: Path, model: str, most_megabytes: int
) -> None:
    """The first transcription on a device, which verifies the checksums and probes the kernels as well."""
    pytest.importorskip("whisper")
    checkpoint, artifact = tmp_path / "checkpoint", tmp_path / "artifact"
    write_random_checkpoint(model, checkpoint, tokens=100)
    size = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    building = peak_of(tmp_path / "builder", "build", checkpoint, "-o", artifact, "--no-parity")
    assert building <= 2 * size, f"{building / MEGABYTE:.0f} MB of {2 * size / MEGABYTE:.0f}"

    speech = write_noise(tmp_path / "speech.wav", SECONDS)
    options = ("--language", "en", "--temperature", "0", "--no-timestamps", "--format", "txt")
    transcribing = peak_of(tmp_path / "device", "transcribe", speech, "-a", artifact, *options)
    assert transcribing <= most_megabytes * MEGABYTE, f"{transcribing / MEGABYTE:.0f} MB"


# Network


@pytest.fixture
def small_checkpoint(tmp_path: Path) -> Path:
    return write_small_folder(tmp_path / "checkpoint", tokens=8)


@pytest.mark.parametrize("parity", ["--no-parity", pytest.param("--parity", marks=pytest.mark.slow)])
def test_a_build_and_a_transcription_reach_for_no_network_and_leave_only_the_state(
    tmp_path: Path, small_checkpoint: Path, parity: str
) -> None:
    artifact, home = tmp_path / "artifact", tmp_path / "home"
    code = textwrap.dedent(NO_NETWORK) + textwrap.dedent(RUN)
    built = run(code, home, "build", small_checkpoint, "-o", artifact, parity)
    assert built.returncode == 0, built.stderr
    speech = write_noise(tmp_path / "speech.wav", 3)
    spoken = run(code, home, "transcribe", speech, "-a", artifact, "--language", "en")
    assert spoken.returncode == 0, spoken.stderr
    assert "onnxruntime" in json.loads(spoken.stdout.splitlines()[-1])["loaded"]
    files = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    assert files == [".local/state/edgewhisper/state.json"]


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.getaddrinfo('localhost', 80)",
        "socket.socket().connect(('127.0.0.1', 9))",
        "urllib.request.urlopen('http://127.0.0.1:9')",
    ],
)
def test_an_attempt_to_reach_the_network_would_be_noticed(tmp_path: Path, attempt: str) -> None:
    code = textwrap.dedent(NO_NETWORK) + f"import socket, urllib.request\n{attempt}\n"
    done = run(code, tmp_path / "home")
    assert (done.returncode, done.stderr.startswith("socket.")) == (99, True)
