"""The Debian package, installed by dpkg below a folder: contents, relations, other installations, the service."""

import time
from pathlib import Path

import pytest

from edgewhisper.deploy.bundle.debian_package import write_debian_package
from edgewhisper.deploy.bundle.release import digest_of
from tests.deploy.bundle.small_bundle import (
    FAILING_SELF_TEST,
    PYTHON,
    answer,
    install,
    run,
    small_bundle,
    small_name,
)
from tests.deploy.bundle.small_system import (
    COMMAND,
    Package,
    apt_install,
    dpkg,
    field,
    host_architecture,
    installed,
    with_services,
    write_status,
)

pytestmark = [
    pytest.mark.skipif(not Path("/usr/bin/dpkg").exists(), reason="no dpkg"),
]


def test_names_and_relations(package: Package) -> None:
    deb = package("base.en", "1.0.0rc1")
    assert deb.name == f"edgewhisper-base.en-int8-py{PYTHON}_1.0.0~rc1_arm64.deb"
    assert field(deb, "Package") == f"edgewhisper-base.en-int8-py{PYTHON}"
    assert field(deb, "Version") == "1.0.0~rc1"
    assert field(deb, "Recommends") == "alsa-utils"
    assert {field(deb, name) for name in ("Provides", "Conflicts", "Replaces")} == {"edgewhisper-device"}
    major, minor = PYTHON.split(".")
    assert field(deb, "Depends").startswith(f"python3 (>= {PYTHON}), python3 (<< {major}.{int(minor) + 1})")
    assert run("dpkg", "--compare-versions", field(deb, "Version"), "lt", "1.0.0").returncode == 0


def test_the_same_release_gives_the_same_bytes(package: Package, tmp_path: Path) -> None:
    first, moved = package(), tmp_path / "first.deb"
    first.rename(moved)
    time.sleep(1.1)  # time stamps of files are seconds
    name = small_name()
    (tmp_path / "again").mkdir()
    write_debian_package(
        first, first.parent / "tree", name.release(digest_of(first.parent / "tree")), name, tmp_path / "again"
    )
    assert first.read_bytes() == moved.read_bytes()


def test_it_installs_runs_and_goes_without_a_trace(package: Package, root: Path) -> None:
    done = dpkg(root, "--install", package())
    assert done.returncode == 0, done.stderr
    assert answer(root, COMMAND) == "small"
    assert dpkg(root, "--verify").stdout == ""
    compiled = root / "opt/edgewhisper/current/lib/__pycache__"
    compiled.mkdir(exist_ok=True)
    (compiled / "helper.pyc").write_text("compiled")
    done = dpkg(root, "--purge", small_name().package)
    assert done.returncode == 0, done.stderr
    left = [path.relative_to(root) for path in root.rglob("*") if path.is_file() or path.is_symlink()]
    assert [path for path in left if path.parts[:3] != ("var", "lib", "dpkg")] == []
    assert not (root / "opt").exists()


def test_purging_leaves_a_tarballs_settings_and_state(package: Package, root: Path, tmp_path: Path) -> None:
    dpkg(root, "--install", package())
    (root / "etc/default/edgewhisper").write_text("mine\n")
    learned = root / "var/lib/edgewhisper/state.json"
    learned.parent.mkdir()
    learned.write_text("{}")
    assert dpkg(root, "--remove", small_name().package).returncode == 0
    assert install(small_bundle(tmp_path, "tarball"), root).returncode == 0
    done = dpkg(root, "--purge", small_name().package)
    assert done.returncode == 0, done.stderr
    assert answer(root) == "tarball"
    assert (root / "etc/default/edgewhisper").read_text() == "mine\n"
    assert learned.exists()


def test_a_command_that_hides_the_packages_is_told_of(package: Package, root: Path) -> None:
    command = root / "usr/local/bin/edgewhisper"
    command.parent.mkdir(parents=True)
    command.write_text("mine")
    done = dpkg(root, "--install", package())
    assert done.returncode == 0
    assert f"warning: {command}, which is not of this package, hides /usr/bin/edgewhisper" in done.stderr
    assert command.read_text() == "mine"


def test_a_tarball_is_not_installed_over_a_package(package: Package, root: Path, tmp_path: Path) -> None:
    assert dpkg(root, "--install", package()).returncode == 0
    done = install(small_bundle(tmp_path, "tarball"), root)
    assert done.returncode == 1
    assert f"apt remove {small_name().package}" in done.stderr
    assert answer(root, COMMAND) == "small"


def test_apt_puts_another_model_in_the_place(package: Package, root: Path) -> None:
    assert apt_install(root, package("demo")).returncode == 0
    done = apt_install(root, package("base.en"))
    assert done.returncode == 0, done.stderr
    assert answer(root, COMMAND) == "base.en"
    assert len(installed(root)) == 1


def test_dpkg_alone_does_not_install_a_second_model(package: Package, root: Path) -> None:
    assert dpkg(root, "--install", package("demo")).returncode == 0
    done = dpkg(root, "--install", package("base.en"))
    assert "conflicts with edgewhisper-device" in done.stderr
    assert answer(root, COMMAND) == "demo"


def test_another_python_is_refused(package: Package, root: Path) -> None:
    write_status(root, "3.9")
    done = dpkg(root, "--install", package())
    assert done.returncode == 1
    assert f"depends on python3 (>= {PYTHON})" in done.stderr


def test_another_architecture_is_refused(package: Package, root: Path) -> None:
    (root / "var/lib/dpkg/arch").unlink()
    done = dpkg(root, "--install", package())
    if host_architecture() != "arm64":
        assert done.returncode == 1
        assert "package architecture (arm64) does not match system" in done.stderr


def test_a_tarballs_installation_is_left_alone(package: Package, root: Path, tmp_path: Path) -> None:
    assert install(small_bundle(tmp_path, "tarball"), root).returncode == 0
    done = dpkg(root, "--install", package())
    assert done.returncode == 1
    assert "uninstall.sh" in done.stderr
    assert answer(root) == "tarball"


def test_the_service_is_restarted_only_after_the_self_test(
    package: Package, root: Path, tmp_path: Path
) -> None:
    path, log = with_services(root, tmp_path)
    done = dpkg(root, "--install", package("bad", self_test=FAILING_SELF_TEST), PATH=path)
    assert done.returncode == 1
    assert "other words" in done.stderr
    assert "the service was not restarted" in done.stderr
    assert not log.exists()
    assert dpkg(root, "--install", package("bad", "0.2.0"), PATH=path).returncode == 0
    assert log.read_text().splitlines() == [
        "daemon-reload", "--quiet is-enabled edgewhisper.service", "restart edgewhisper.service",
    ]  # fmt: skip
    assert answer(root, COMMAND) == "bad"


def test_a_service_that_nobody_enabled_is_not_started(package: Package, root: Path, tmp_path: Path) -> None:
    path, log = with_services(root, tmp_path, is_enabled=False)
    assert dpkg(root, "--install", package(), PATH=path).returncode == 0
    assert log.read_text().splitlines()[-1] == "try-restart edgewhisper.service"


def test_removing_stops_the_service_and_another_model_starts_it_again(
    package: Package, root: Path, tmp_path: Path
) -> None:
    path, log = with_services(root, tmp_path)
    assert apt_install(root, package("demo"), PATH=path).returncode == 0
    log.unlink()
    assert apt_install(root, package("base.en"), PATH=path).returncode == 0
    told = log.read_text().splitlines()
    assert told[0] == "stop edgewhisper.service"
    assert told[-1] == "restart edgewhisper.service"
