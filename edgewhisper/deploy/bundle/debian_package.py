"""The Debian package of a release."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from edgewhisper.atomic import atomic_file
from edgewhisper.errors import BuildError, MissingDependencyError

from .names import ARCHITECTURE, BundleName
from .release import UNIT_FOLDER, size_on_disk
from .tarball import source_date_epoch

_SCRIPTS = Path(__file__).with_name("debian")
_MAINTAINER = "The edgewhisper authors <edgewhisper@localhost>"
_DESCRIPTION = """\
Whisper speech recognition with the model {model} ({precision})
 Turns speech into text on this device, without a network: the command
 edgewhisper, what it needs of Python packages, and one model.
"""


def write_debian_package(path: Path, tree: Path, release: str, name: BundleName, scratch: Path) -> None:
    """Write the package that installs `tree` as /opt/edgewhisper/RELEASE; `scratch` is an empty folder.

    The link /opt/edgewhisper/current and the settings are not among its files: its scripts see to them.

    Raises:
        MissingDependencyError: dpkg-deb is not installed.
        BuildError: dpkg-deb failed.
    """
    if shutil.which("dpkg-deb") is None:
        raise MissingDependencyError(
            "dpkg-deb is not installed, and writes Debian packages; run 'apt install dpkg', or leave the package out with --no-deb"
        )
    _lay_out(scratch, tree, release, name)
    _write_control(scratch, release, name)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(source_date_epoch())}
    for file in [scratch, *scratch.rglob("*")]:
        os.utime(file, (source_date_epoch(),) * 2, follow_symlinks=False)
    with atomic_file(path) as temporary:
        command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", str(scratch), str(temporary)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise BuildError(f"{path}: dpkg-deb failed: {' '.join(done.stderr.split())}")


def _lay_out(root: Path, tree: Path, release: str, name: BundleName) -> None:
    opt = root / "opt" / "edgewhisper"
    shutil.copytree(tree, opt / release)
    _put(root / "usr" / "bin" / "edgewhisper").symlink_to("../../opt/edgewhisper/current/bin/edgewhisper")
    unit = tree / UNIT_FOLDER / "edgewhisper.service"
    if unit.exists():
        shutil.copyfile(unit, _put(root / "usr" / "lib" / "systemd" / "system" / unit.name))
    _put(root / "usr" / "share" / "doc" / name.package / "copyright").write_text(
        "edgewhisper is under the MIT licence; the texts of all licences of what this package contains are in\n"
        "/opt/edgewhisper/current/licenses, and PACKAGES.txt there lists them.\n"
    )
    for path in root.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _write_control(root: Path, release: str, name: BundleName) -> None:
    control = root / "DEBIAN"
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    size = size_on_disk(root) // 1024
    control.mkdir(mode=0o755)
    major, minor = name.python.split(".")
    fields = {
        "Package": name.package,
        "Version": name.debian_version,
        "Architecture": ARCHITECTURE,
        "Maintainer": _MAINTAINER,
        "Installed-Size": str(size),
        "Depends": f"python3 (>= {name.python}), python3 (<< {major}.{int(minor) + 1}), libc6 (>= 2.36), libgcc-s1, libstdc++6",
        "Recommends": "alsa-utils",  # arecord, for the microphone
        "Provides": "edgewhisper-device",
        "Conflicts": "edgewhisper-device",
        "Replaces": "edgewhisper-device",
        "Section": "sound",
        "Priority": "optional",
        "Description": _DESCRIPTION.format(model=name.model, precision=name.precision).rstrip(),
    }
    (control / "control").write_text("".join(f"{key}: {value}\n" for key, value in fields.items()))
    (control / "md5sums").write_text(
        "".join(
            f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(root)}\n"
            for path in files
        )
    )
    for script in sorted(_SCRIPTS.iterdir()):
        text = script.read_text().replace("@RELEASE@", release).replace("@PACKAGE@", name.package)
        (control / script.name).write_text(text)
        (control / script.name).chmod(0o755)


def _put(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
