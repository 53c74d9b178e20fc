"""A bundle with the real scripts and a tree of a few files, whose self-test is a single line of Python.

The scripts run with this machine's interpreter and its architecture; what differs from a device is set in release.conf.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.deploy.bundle import build, release
from edgewhisper.deploy.bundle.names import BundleName

SCRIPTS = Path(release.__file__).parent
PYTHON = "{}.{}".format(*sys.version_info)
WORKING_SELF_TEST = "print('understood')\n"
FAILING_SELF_TEST = "import sys; sys.exit('edgewhisper: error: the self-test failed: other words')\n"
COMMAND = "import pathlib; print(pathlib.Path(__file__).parents[1].joinpath('model.txt').read_text())\n"


@dataclass(frozen=True)
class SmallBundle:
    """The folder that a user unpacks, with the installer and one release in it."""

    top: Path
    tree: Path


def write_tree(
    tree: Path,
    model: str,
    *,
    self_test: str = WORKING_SELF_TEST,
    defaults: str = "EDGEWHISPER_OPTIONS=\n",
    **settings: str | int,
) -> None:
    """A release that answers with the name of its model, checksums included."""
    for script in ("bin/edgewhisper", "bin/edgewhisper-self-test", "uninstall.sh"):
        (tree / script).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPTS / "tree" / script, tree / script)
    for name, text in {
        "lib/__main__.py": COMMAND,
        "lib/helper.py": "",
        "selftest/__main__.py": self_test,
        "model.txt": model,
        "systemd/edgewhisper.service": "[Service]\nExecStart=/usr/bin/edgewhisper serve\n",
        "systemd/edgewhisper.default": defaults,
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    stated = {"version": "0.1.0", "python": PYTHON, "machine": platform.machine(), "disk_kb": 100, **settings}
    (tree / "release.conf").write_text("".join(f"{key}={value}\n" for key, value in stated.items()))
    sums = [
        f"{hashlib.sha256((tree / path).read_bytes()).hexdigest()}  {path}\n"
        for path in release.files_of(tree)
    ]
    (tree / release.SUMS).write_text("".join(sums))


def small_bundle(
    folder: Path,
    model: str = "small",
    *,
    self_test: str = WORKING_SELF_TEST,
    defaults: str = "EDGEWHISPER_OPTIONS=\n",
    **settings: str | int,
) -> SmallBundle:
    """An unpacked tarball below `folder`."""
    top = folder / model
    release = f"0.1.0-{model}"
    write_tree(top / release, model, self_test=self_test, defaults=defaults, **settings)
    build.write_installer(top, release)
    return SmallBundle(top, top / release)


def small_name(model: str = "small") -> BundleName:
    """The name of a bundle for this machine's Python."""
    return BundleName(model, "int8", PYTHON)


def environment(**changes: str) -> Mapping[str, str]:
    """What the scripts run with: this interpreter."""
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "EDGEWHISPER_PYTHON": sys.executable} | changes


def run(*command: str | Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run a script."""
    return subprocess.run(command, env=environment(**changes), capture_output=True, text=True)


def install(bundle: SmallBundle, root: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run the installer below `root`."""
    return run(bundle.top / "install.sh", "--root", root, **changes)


def answer(root: Path, command: str = "usr/local/bin/edgewhisper") -> str:
    """What the installed command says: the name of the release's model."""
    done = run(root / command)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write_program(folder: Path, name: str, text: str) -> str:
    """A program of a test before all others; the PATH with it."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}/usr/sbin:/usr/bin:/sbin:/bin"
