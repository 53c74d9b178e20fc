"""What the tests of the Debian package share."""

from pathlib import Path

import pytest

from edgewhisper.deploy.bundle.debian_package import write_debian_package
from edgewhisper.deploy.bundle.names import BundleName
from edgewhisper.deploy.bundle.release import digest_of
from tests.deploy.bundle.small_bundle import (
    PYTHON,
    write_tree,
)
from tests.deploy.bundle.small_system import Package, write_status


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """Writes the package of a small release."""

    def write(
        model: str = "small", version: str = "0.1.0", content: str = "", revision: int = 0, **tree: str
    ) -> Path:
        name = BundleName(model, "int8", PYTHON, version, revision)
        folder = tmp_path / f"package-{model}-{version}-{content}-{revision}"
        (folder / "scratch").mkdir(parents=True)
        write_tree(folder / "tree", content or model, **tree)
        path = folder / name.deb
        release = name.release(digest_of(folder / "tree"))
        write_debian_package(path, folder / "tree", release, name, folder / "scratch")
        return path

    return write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A system whose dpkg knows the packages that ours depends on, and nothing else."""
    root = tmp_path / "root"
    admin = root / "var" / "lib" / "dpkg"
    for folder in ("info", "updates", "triggers"):
        (admin / folder).mkdir(parents=True)
    write_status(root, PYTHON)
    return root
