"""Upgrades of the Debian package: the release before goes on until the new one works, whatever is killed or fails."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.deploy.bundle.small_bundle import (
    FAILING_SELF_TEST,
    answer,
    environment,
    small_name,
)
from tests.deploy.bundle.small_system import (
    COMMAND,
    Package,
    apt_install,
    current,
    dpkg,
    field,
    installed,
    options,
)

pytestmark = [
    pytest.mark.skipif(not Path("/usr/bin/dpkg").exists(), reason="no dpkg"),
]


def test_the_release_before_answers_until_the_self_test_has_passed(
    package: Package, root: Path, tmp_path: Path
) -> None:
    dpkg(root, "--install", package())
    meanwhile = tmp_path / "meanwhile"
    ask = (
        "import pathlib, subprocess\n"
        f"done = subprocess.run([{str(root / COMMAND)!r}], capture_output=True, text=True)\n"
        f"pathlib.Path({str(meanwhile)!r}).write_text(done.stdout + done.stderr)\n"
    )
    assert dpkg(root, "--install", package(version="0.2.0", content="newer", self_test=ask)).returncode == 0
    assert meanwhile.read_text().strip() == "small"
    assert answer(root, COMMAND) == "newer"
    assert installed(root) == [current(root)]


def test_the_release_before_goes_on_where_new_ones_fail_their_self_test(package: Package, root: Path) -> None:
    dpkg(root, "--install", package())
    for version in ("0.2.0", "0.3.0"):
        bad = package(version=version, content=version, self_test=FAILING_SELF_TEST)
        done = dpkg(root, "--install", bad)
        assert done.returncode == 1
        assert "this release is not used" in done.stderr
        assert answer(root, COMMAND) == "small"
    assert dpkg(root, "--configure", "--pending").returncode == 1
    assert answer(root, COMMAND) == "small"
    assert dpkg(root, "--install", package(version="0.4.0", content="good")).returncode == 0
    assert answer(root, COMMAND) == "good"
    assert installed(root) == [current(root)]


def test_a_package_that_never_worked_goes_without_a_trace(package: Package, root: Path) -> None:
    dpkg(root, "--install", package())
    dpkg(root, "--install", package(version="0.2.0", content="bad", self_test=FAILING_SELF_TEST))
    done = dpkg(root, "--purge", small_name().package)
    assert done.returncode == 0, done.stderr
    assert not (root / "opt").exists()


def test_a_package_that_was_never_configured_goes_without_a_trace(package: Package, root: Path) -> None:
    dpkg(root, "--install", package())
    assert dpkg(root, "--unpack", package(version="0.2.0", content="newer")).returncode == 0
    assert answer(root, COMMAND) == "small"
    done = dpkg(root, "--purge", small_name().package)
    assert done.returncode == 0, done.stderr
    left = list((root / "opt").rglob("*")) if (root / "opt").exists() else []
    assert left == []


def test_the_same_package_again_mends_a_damaged_release(package: Package, root: Path) -> None:
    deb = package()
    dpkg(root, "--install", deb)
    (root / "opt/edgewhisper/current/model.txt").write_text("damaged")
    for _ in range(2):
        assert dpkg(root, "--install", deb).returncode == 0
        assert answer(root, COMMAND) == "small"
        assert installed(root) == [current(root)]


@pytest.mark.parametrize("worked", [True, False])
def test_an_upgrade_that_is_refused_leaves_what_was_there(package: Package, root: Path, worked: bool) -> None:
    """By preinst, after prerm: a tarball's command came in between."""
    dpkg(root, "--install", package())
    before = current(root)
    if not worked:
        dpkg(root, "--install", package(version="0.2.0", content="bad", self_test=FAILING_SELF_TEST))
        before = current(root)
    command = root / "usr/local/bin/edgewhisper"
    command.parent.mkdir(parents=True)
    command.symlink_to("../../../opt/edgewhisper/current/bin/edgewhisper")
    newer = package(version="0.3.0", content="newer")
    assert dpkg(root, "--install", newer).returncode == 1
    assert current(root) == before
    assert answer(root, COMMAND) == "small"
    command.unlink()
    assert dpkg(root, "--install", newer).returncode == 0
    assert answer(root, COMMAND) == "newer"
    assert installed(root) == [current(root)]


def test_a_package_that_was_built_again_is_an_upgrade_with_a_higher_revision(
    package: Package, root: Path
) -> None:
    assert apt_install(root, package()).returncode == 0
    for revision in (1, 2, 10):
        content = f"build-{revision}"
        done = apt_install(root, package(content=content, revision=revision))
        assert done.returncode == 0, done.stderr
        assert answer(root, COMMAND) == content
    assert field(package(revision=3), "Version") == "0.1.0-3"


def test_a_package_of_the_same_version_is_installed_when_asked_for(package: Package, root: Path) -> None:
    assert apt_install(root, package()).returncode == 0
    done = apt_install(root, package(content="again"), "--reinstall")
    assert done.returncode == 0, done.stderr
    assert answer(root, COMMAND) == "again"
    assert len(installed(root)) == 1


def test_settings_survive_an_upgrade(package: Package, root: Path) -> None:
    dpkg(root, "--install", package())
    (root / "etc/default/edgewhisper").write_text("mine\n")
    assert dpkg(root, "--install", package(version="0.2.0", content="newer")).returncode == 0
    assert answer(root, COMMAND) == "newer"
    assert (root / "etc/default/edgewhisper").read_text() == "mine\n"
    assert len(installed(root)) == 1


def test_settings_that_nobody_has_changed_become_those_of_the_new_release(
    package: Package, root: Path
) -> None:
    dpkg(root, "--install", package())
    newer = package(version="0.2.0", defaults="EDGEWHISPER_OPTIONS=newer\n")
    assert dpkg(root, "--install", newer).returncode == 0
    assert (root / "etc/default/edgewhisper").read_text() == "EDGEWHISPER_OPTIONS=newer\n"


@pytest.mark.parametrize(
    "milliseconds", [60, 150, *(pytest.param(time, marks=pytest.mark.slow) for time in range(10, 600, 20))]
)
def test_a_kill_at_any_moment_of_an_upgrade_is_mended(
    package: Package, root: Path, milliseconds: int
) -> None:
    assert dpkg(root, "--install", package("demo")).returncode == 0
    newer = package("demo", "0.2.0", "newer", self_test="import time; time.sleep(0.1)\n")
    process = subprocess.Popen(
        ["dpkg", *options(root), "--install", newer], env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(milliseconds / 1000)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert answer(root, COMMAND) in ("demo", "newer")
    dpkg(root, "--configure", "--pending")
    assert answer(root, COMMAND) in ("demo", "newer")
    done = dpkg(root, "--install", newer)
    assert done.returncode == 0, done.stderr
    assert answer(root, COMMAND) == "newer"
    assert dpkg(root, "--audit").stdout == ""
    assert len(installed(root)) == 1
