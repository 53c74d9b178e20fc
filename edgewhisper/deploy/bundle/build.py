"""From an artifact to the files that a device installs."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from edgewhisper.artifact import load_manifest, verify_file
from edgewhisper.errors import UsageError

from .debian_package import write_debian_package
from .names import ARCHITECTURE, PYTHONS, BundleName, bundle_name
from .release import digest_of, write_release
from .tarball import write_tarball
from .wheels import download_wheels

INSTALLER = Path(__file__).with_name("install.sh")


def build_bundles(
    artifact: Path,
    output: Path,
    pythons: Sequence[str] = PYTHONS[:1],
    *,
    deb: bool = True,
    revision: int = 0,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Path]:
    """Write a tarball, and unless `deb` is False a Debian package, for every version of Python; the paths of all.

    Args:
        artifact: built for arm64.
        output: the folder that the files go to; those of the same name are replaced when the new ones are complete.
        pythons: minor versions, of `PYTHONS`.
        deb: whether Debian packages are written too.
        revision: of the Debian package; 0 for none. A package that was built again is an upgrade with a higher one only.
        progress: is told each step.

    Raises:
        UsageError: an artifact for other processors, or a version of Python that no bundle is made for.
        MissingDependencyError: pip or dpkg-deb is not installed.
        BuildError: packages could not be fetched or written, or the model understands nothing.
        ArtifactError: the artifact is damaged.
    """
    if unknown := [python for python in pythons if python not in PYTHONS]:
        raise UsageError(f"Python {unknown[0]}: bundles are made for {' and '.join(PYTHONS)}")
    manifest = load_manifest(artifact)
    if manifest.build.target not in (ARCHITECTURE, "any"):
        raise UsageError(
            f"{artifact}: was built for {manifest.build.target}; build it again with --target {ARCHITECTURE}"
        )
    for info in manifest.files:
        verify_file(artifact, info)
    output.mkdir(parents=True, exist_ok=True)
    paths = []
    for python in pythons:
        name = bundle_name(manifest, python, revision)
        with tempfile.TemporaryDirectory(prefix=".bundle-", dir=output) as folder:
            scratch = Path(folder)
            progress(f"fetch the packages for Python {python}")
            wheels = download_wheels(python, scratch / "wheels")
            progress(f"put together {name.package}")
            tree = scratch / "tree"
            tree.mkdir()
            write_release(tree, name, artifact, manifest, wheels)
            paths += _write_files(tree, name, output, scratch, deb, progress)
    return paths


def _write_files(
    tree: Path, name: BundleName, output: Path, scratch: Path, deb: bool, progress: Callable[[str], None]
) -> list[Path]:
    release = name.release(digest_of(tree))
    paths = [output / name.tarball]
    if deb:
        progress(f"write {name.deb}")
        package = output / name.deb
        write_debian_package(package, tree, release, name, scratch / "package")
        paths.append(package)
    progress(f"write {name.tarball}")
    top = scratch / "top"
    top.mkdir()
    tree.rename(top / release)
    write_installer(top, release)
    write_tarball(paths[0], top, name.tarball.removesuffix(".tar.gz"))
    return paths


def write_installer(top: Path, release: str) -> None:
    """Write install.sh, which installs the folder `release` beside it and no other, into `top`."""
    (top / INSTALLER.name).write_text(INSTALLER.read_text().replace("@RELEASE@", release))
    (top / INSTALLER.name).chmod(0o755)
