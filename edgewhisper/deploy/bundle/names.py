"""What a bundle and its files are called."""

import re
from dataclasses import dataclass

from edgewhisper import __version__
from edgewhisper.artifact import Manifest
from edgewhisper.errors import UsageError

PYTHONS = ("3.11", "3.13")  # of Raspberry Pi OS bookworm and trixie
MACHINE = "aarch64"  # as Python's platform.machine() has it
ARCHITECTURE = "arm64"  # as Debian has it
_PRE_RELEASE = re.compile(r"[._-]?(a|b|rc|dev)(?=[0-9])")


@dataclass(frozen=True)
class BundleName:
    """A model in a precision, for one minor version of Python; `revision` tells packages of one version apart.

    >>> BundleName("base.en", "int8", "3.11").deb
    'edgewhisper-base.en-int8-py3.11_0.1.0_arm64.deb'
    """

    model: str
    precision: str
    python: str
    version: str = __version__
    revision: int = 0

    @property
    def package(self) -> str:
        """The name of the Debian package: lower case letters, digits, plus, minus and full stop."""
        return f"edgewhisper-{self.model}-{self.precision}-py{self.python}"

    @property
    def debian_version(self) -> str:
        """The version; before 1.0 came 1.0~rc1, which Debian must be told. A higher revision replaces a lower one, and none."""
        return _PRE_RELEASE.sub(r"~\1", self.version) + (f"-{self.revision}" if self.revision else "")

    @property
    def tarball(self) -> str:
        """The file name of the tarball, and with .tar.gz cut off that of the folder in it."""
        return f"{self.package}-{ARCHITECTURE}.tar.gz"

    @property
    def deb(self) -> str:
        """The file name of the Debian package."""
        return f"{self.package}_{self.debian_version}_{ARCHITECTURE}.deb"

    def release(self, digest: str) -> str:
        """The folder below /opt/edgewhisper; with eight digits of what is in it, so that two builds do not meet there."""
        return f"{self.version}-{self.model}-{self.precision}-py{self.python}-{digest[:8]}"


def bundle_name(manifest: Manifest, python: str, revision: int = 0) -> BundleName:
    """The name of the bundle of an artifact.

    Raises:
        UsageError: nothing of the model's name can be part of a package's.
    """
    model = re.sub(r"[^a-z0-9.+]+", "-", manifest.model.name.lower()).strip("-.+")
    if not model:
        raise UsageError(
            f"the artifact's model is called {manifest.model.name!r}, of which no package name can be made; "
            "rename the checkpoint's folder or file and build again"
        )
    return BundleName(model, manifest.graph("decoder").precision, python, revision=revision)
