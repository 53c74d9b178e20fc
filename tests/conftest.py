"""What many tests share: the bundled model, an artifact built from it, and its recordings."""

import csv
import os
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from edgewhisper.cli.main import main
from edgewhisper.models.cards import DEMO_FOLDER

# How long an example takes says more about the machine than about the code. The same examples every time, so that a
# change is judged by what it changed; `pytest --hypothesis-profile=explore` looks for new ones.
hypothesis.settings.register_profile("edgewhisper", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=500)
hypothesis.settings.load_profile("edgewhisper")

# Where tests run in several processes each has a processor: more threads would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("EDGEWHISPER_THREADS", "1")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing in the tests may depend on a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@dataclass(frozen=True)
class BundledRecording:
    """A held-out recording of the bundled model and what is said in it."""

    path: Path
    group: str  # seen (voices), unseen, german, long, or blank: without speech
    language: str
    text: str


STEP = re.compile(r"\[\d+/\d+\] ")


@dataclass(frozen=True)
class Outcome:
    """What a run of the command did."""

    code: int
    out: str
    err: str

    def assert_refused(self, code: int, *words: str) -> None:
        """One line on standard error with all of `words`, after a build's steps; no output, and the exit code."""
        assert (self.code, self.out) == (code, ""), self
        (line,) = (line for line in self.err.splitlines() if not STEP.match(line))
        assert line.startswith("edgewhisper: error: ")
        assert all(word in line for word in words), line


Command = Callable[..., Outcome]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `edgewhisper` with the given arguments in this process."""

    def run(*arguments: str | Path) -> Outcome:
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session", autouse=True)
def interrupts() -> None:
    """Processes that tests start can be interrupted, also where a shell runs the tests in the background and has them ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def device_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What the runtime learns of the device does not outlive the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGEWHISPER_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def demo_checkpoint() -> Path:
    """The folder of the bundled model, in transformers' format."""
    return DEMO_FOLDER


@pytest.fixture(scope="session")
def demo_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model, built in fp32 without the parity check. Shared: read it, do not change it."""
    from edgewhisper.pipeline.build import build

    return build("demo", tmp_path_factory.mktemp("artifacts") / "demo", parity=False)


@pytest.fixture(scope="session")
def recordings() -> Sequence[BundledRecording]:
    """The bundled recordings, in the order of their list."""
    folder = DEMO_FOLDER / "recordings"
    with (folder / "transcripts.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [
            BundledRecording(folder / row["file"], row["group"], row["language"], row["text"]) for row in rows
        ]


@pytest.fixture(scope="session")
def speech(recordings: Sequence[BundledRecording]) -> Path:
    """One short English recording."""
    return next(recording.path for recording in recordings if recording.group == "seen")
