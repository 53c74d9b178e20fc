"""A system below a folder whose dpkg and apt know what our packages depend on, and nothing else."""

import os
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.deploy.bundle.small_bundle import (
    environment,
    run,
    write_program,
)

COMMAND = "usr/bin/edgewhisper"
Package = Callable[..., Path]


def write_status(root: Path, python: str) -> None:
    entry = (
        "Package: {}\nStatus: install ok installed\nMaintainer: nobody\n"
        "Architecture: arm64\nVersion: {}\nDescription: none\n\n"
    )
    versions = {"python3": f"{python}.2-1", "libc6": "2.36-9", "libgcc-s1": "12", "libstdc++6": "12"}
    status = "".join(entry.format(*item) for item in versions.items())
    (root / "var/lib/dpkg/status").write_text(status)
    (root / "var/lib/dpkg/arch").write_text(f"{host_architecture()}\narm64\n")
    for name in versions:
        for kind in ("list", "md5sums"):
            (root / f"var/lib/dpkg/info/{name}.{kind}").write_text("")


def host_architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def dpkg(root: Path, *arguments: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return run("dpkg", *options(root), *arguments, **changes)


def options(root: Path) -> tuple[str, ...]:
    force = ("--force-script-chrootless", "--force-not-root", "--force-unsafe-io")
    return (f"--root={root}", "--no-debsig", *force)


def apt_install(root: Path, deb: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """`apt install [ARGUMENTS] ./FILE`, with an apt that knows only what is installed below `root`."""
    apt = root / "var" / "apt"
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "sources.list").touch()
    settings = {
        "Dir::State": apt,
        "Dir::State::status": root / "var/lib/dpkg/status",
        "Dir::Cache": apt,
        "Dir::Log": apt,
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "APT::Architecture": host_architecture(),
        "APT::Architectures::": "arm64",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
        "DPkg::Path": changes.get("PATH", environment()["PATH"]),
    }
    words = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    words += [word for option in options(root) for word in ("-o", f"Dpkg::Options::={option}")]
    return run("apt-get", "--yes", *words, "install", *arguments, deb, **changes)


def installed(root: Path) -> list[str]:
    """The releases below /opt/edgewhisper."""
    return sorted(path.name for path in (root / "opt/edgewhisper").iterdir() if path.name != "current")


def current(root: Path) -> str:
    """Where the command leads to."""
    return os.readlink(root / "opt/edgewhisper/current")


def field(deb: Path, name: str) -> str:
    return subprocess.run(
        ["dpkg-deb", "-f", deb, name], check=True, capture_output=True, text=True
    ).stdout.strip()


def with_services(root: Path, tmp_path: Path, is_enabled: bool = True) -> tuple[str, Path]:
    """The PATH of a system whose systemctl writes down what it is told, and that list."""
    (root / "run/systemd/system").mkdir(parents=True)
    log = tmp_path / "log"
    text = f'echo "$@" >>{log}; [ "$2" != is-enabled ] || exit {int(not is_enabled)}'
    return write_program(tmp_path / "bin", "systemctl", text), log
