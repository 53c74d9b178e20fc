"""An emulated Raspberry Pi: Debian's Python for arm64, and the demo's bundle installed on it.

Takes minutes, so only `make test-arm64` runs this folder. Where Debian's servers do not answer it is skipped, and SKIPPED is the
last line that is printed.
"""

import functools
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.arm64.debian_root import Emulator, RegistryUnreachable, prepare

ROOT = Path(__file__).parents[2]
# Beside the sources, so that packages are fetched once; `make clean` removes it.
CACHE = ROOT / "build" / "arm64"
PI_4, PI_5 = "cortex-a72", "cortex-a76"
TIMEOUT = 400.0  # seconds for one program: the emulator may hang
# Set to 1, it lets the tests run with a network where this machine does not let us take it away.
ONLINE = "EDGEWHISPER_TEST_ONLINE"
_STARTED = pytest.StashKey[float]()
_FIGURES = pytest.StashKey[list[str]]()
_UNREACHABLE = pytest.StashKey[str]()


@dataclass(frozen=True)
class Bundle:
    """What the build host makes for the device."""

    artifact: Path
    tarball: Path
    deb: Path
    seconds: float  # that building the artifact and packing it took
    work: float  # seconds of processors in it, which do not depend on what else runs here


@dataclass(frozen=True)
class Device:
    """The emulated device: the bundle's command below a root."""

    root: Path
    emulator: Emulator
    seconds: float  # that installing took
    said: str  # by the installer

    @property
    def tree(self) -> Path:
        """The installed release."""
        return (self.root / "opt" / "edgewhisper" / "current").resolve()

    @property
    def command(self) -> Path:
        """What a user types."""
        return self.root / "usr" / "local" / "bin" / "edgewhisper"

    def environment(self, cpu: str, *options: str) -> dict[str, str]:
        """Variables with which the launcher, the installer and the self-test run on a processor."""
        state = self.root / "state" / cpu
        return {
            "PATH": os.environ["PATH"],
            "EDGEWHISPER_STATE": str(state),
            "EDGEWHISPER_PYTHON": self.emulator.command(cpu, *options),
        }


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--whole", action="store_true", help="all recordings, not a choice of them; takes half an hour"
    )
    parser.addoption("--python-version", default="3.11", choices=["3.11", "3.13"], help="the device's Python")
    parser.addoption("--other-artifact", type=Path, help="an artifact for arm64 whose memory is measured")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_STARTED] = time.monotonic()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What was not asked for is left out, so that a skipped test is one that could not run."""
    if config.getoption("other_artifact") is None:
        left_out = [item for item in items if "other_artifact" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@functools.cache
def no_network() -> tuple[str, ...]:
    """Words before a command that take its network away; none where that is not permitted and `ONLINE` is set."""
    for unshare in (("unshare", "--net"), ("unshare", "--map-root-user", "--net")):
        if subprocess.run([*unshare, "true"], capture_output=True, timeout=TIMEOUT).returncode == 0:
            return unshare
    if os.environ.get(ONLINE) == "1":
        return ()
    raise AssertionError(
        f"this machine does not permit 'unshare --net', so that the network stays; set {ONLINE}=1 to test with it"
    )


def offline(*command: str | Path) -> list[str | Path]:
    """The command without a network."""
    return [*no_network(), *command]


def children_time() -> float:
    """Seconds that processors have worked for processes of this one which have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.fixture(scope="session")
def emulator(pytestconfig: pytest.Config) -> Emulator:
    """Debian's Python for arm64 on this machine."""
    CACHE.mkdir(parents=True, exist_ok=True)
    try:
        return prepare(CACHE, pytestconfig.getoption("python_version"))
    except RegistryUnreachable as error:
        pytestconfig.stash[_UNREACHABLE] = str(error)
        pytest.skip(f"Debian's servers do not answer: {error}")


@pytest.fixture(scope="session")
def bundle(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The demo's bundle, made as `make pi-bundle` makes it."""
    folder = tmp_path_factory.mktemp("host")
    artifact, dist = folder / "demo", folder / "dist"
    started, before = time.monotonic(), children_time()
    edgewhisper = (sys.executable, "-m", "edgewhisper")
    options = ("--precision", "int8", "--target", "arm64", "--draft", "heads")
    build = (*edgewhisper, "build", "demo", "-o", artifact, *options)
    pack = (*edgewhisper, "bundle", artifact, "-o", dist, "--python", emulator.python)
    for command in (build, pack):
        subprocess.run(command, check=True, timeout=TIMEOUT)
    (tarball,), (deb,) = dist.glob("*.tar.gz"), dist.glob("*.deb")
    return Bundle(artifact, tarball, deb, time.monotonic() - started, children_time() - before)


@pytest.fixture(scope="session")
def unpacked(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in the tarball."""
    folder = tmp_path_factory.mktemp("unpacked")
    shutil.unpack_archive(bundle.tarball, folder, filter="data")
    return next(folder.iterdir())


@pytest.fixture(scope="session")
def device(unpacked: Path, emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Device:
    """The bundle, installed with its installer on a Raspberry Pi 4 without network."""
    root, started = tmp_path_factory.mktemp("device"), time.monotonic()
    new = Device(root, emulator, 0, "")
    done = subprocess.run(
        offline(unpacked / "install.sh", "--root", root),
        env=new.environment(PI_4), capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return Device(root, emulator, time.monotonic() - started, done.stdout)


@pytest.fixture(scope="session")
def other_artifact(pytestconfig: pytest.Config) -> Path:
    """Of `--other-artifact`."""
    path: Path = pytestconfig.getoption("other_artifact")
    return path


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    """Lines that are printed at the end."""
    return pytestconfig.stash.setdefault(_FIGURES, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    lines = config.stash.get(_FIGURES, [])
    if lines:
        terminalreporter.section("measured under emulation")
        for line in [*lines, f"in all: {time.monotonic() - config.stash[_STARTED]:.0f} s"]:
            terminalreporter.line(line)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    if reason := config.stash.get(_UNREACHABLE, ""):
        print(f"SKIPPED: Debian's servers do not answer ({reason})")
