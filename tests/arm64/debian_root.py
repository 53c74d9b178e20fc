"""Debian's Python for arm64 and an emulator that runs it, from Debian's packages, without privileges."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# The suite whose Python has this minor version, as in Raspberry Pi OS.
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
# bookworm's emulator cannot be told how much translated code to keep, which would be counted as the program's memory.
EMULATOR_SUITE = "trixie"
TIMEOUT = 400.0  # seconds for one program
UNREACHABLE = re.compile(
    r"Could not resolve|Could not connect|Cannot initiate the connection|Connection (timed out|refused|failed)|"
    r"Temporary failure|Network is unreachable|No route to host|Unable to connect"
)


class RegistryUnreachable(Exception):
    """Debian's servers do not answer."""


@dataclass(frozen=True)
class Emulator:
    """qemu's user mode with a root of arm64 files."""

    qemu: Path
    root: Path
    python: str  # minor version, such as 3.11

    def command(self, cpu: str, *options: str) -> str:
        """Words that run the root's Python on the given processor, as EDGEWHISPER_PYTHON takes them."""
        interpreter = self.root / "usr" / "bin" / f"python{self.python}"
        return " ".join(map(str, (self.qemu, "-cpu", cpu, *options, "-L", self.root, interpreter)))


def prepare(folder: Path, python: str) -> Emulator:
    """An emulator with one minor version of Python below `folder`; what is there already is used again.

    Raises:
        RegistryUnreachable: something is missing, and Debian's servers do not answer.
    """
    qemu, root = folder / "qemu-aarch64", folder / f"root-{python}"
    apt = folder / "apt"
    if not qemu.exists():
        (package,) = _download(apt, EMULATOR_SUITE, "download", "qemu-user:amd64")
        _unpack(package, apt / "emulator", "./usr/bin/qemu-aarch64")
        (apt / "emulator" / "usr" / "bin" / "qemu-aarch64").rename(qemu)
    if not root.exists():
        new = root.with_suffix(".new")
        shutil.rmtree(new, ignore_errors=True)
        wanted = ("install", "--download-only", "--yes", f"python{python}", "libstdc++6")
        for package in _download(apt, SUITES[python], *wanted):
            _unpack(package, new)
        for name in ("bin", "lib", "sbin"):  # links in trixie, of a package that nothing here needs
            if not (new / name).exists():
                (new / name).symlink_to(Path("usr", name))
        new.rename(root)
    shutil.rmtree(apt, ignore_errors=True)
    return Emulator(qemu, root, python)


def _download(apt: Path, suite: str, *arguments: str) -> list[Path]:
    """The packages that an apt of our own fetches, which knows of nothing that is installed here."""
    shutil.rmtree(apt, ignore_errors=True)
    for part in ("lists/partial", "cache/archives/partial", "packages"):
        (apt / part).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(
        f"deb [signed-by={KEYRING} arch=arm64,amd64] {MIRROR} {suite} main\n", encoding="utf-8"
    )
    _apt(apt, "update")
    _apt(apt, *arguments)
    return sorted([*(apt / "packages").glob("*.deb"), *(apt / "cache" / "archives").glob("*.deb")])


def _apt(apt: Path, *arguments: str) -> None:
    settings = {
        "Dir::Etc::sourcelist": f"{apt}/sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State": f"{apt}",
        "Dir::State::status": f"{apt}/status",
        "Dir::Cache": f"{apt}/cache",
        "APT::Architecture": "arm64",
        "APT::Architectures::": "amd64",
        "APT::Install-Recommends": "0",
        "APT::Update::Error-Mode": "any",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "2",
        "Acquire::http::Timeout": "30",
        "Debug::NoLocking": "1",
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    done = subprocess.run(
        ["apt-get", "--quiet", *options, *arguments],
        cwd=apt / "packages", capture_output=True, text=True, timeout=TIMEOUT,
    )  # fmt: skip
    if done.returncode != 0:
        if UNREACHABLE.search(done.stderr):
            raise RegistryUnreachable(done.stderr.strip().splitlines()[0])
        raise AssertionError(f"apt-get {' '.join(arguments)}: {done.stderr.strip()}")


def _unpack(package: Path, target: Path, *members: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as archive:
        subprocess.run(
            ["tar", "-x", "-C", target, *members], stdin=archive.stdout, check=True, timeout=TIMEOUT
        )
