"""The Debian package, installed by dpkg below a folder: contents, upgrades, conflicts, failures, kills."""

import os
import platform
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewhisper.deploy.bundle.debian_package import write_debian_package
from edgewhisper.deploy.bundle.names import BundleName
from edgewhisper.deploy.bundle.release import digest_of
from tests.deploy.bundle.small_bundle import (
    FAILING_SELF_TEST,
    PYTHON,
    answer,
    environment,
    install,
    run,
    small_bundle,
    small_name,
    write_program,
    write_tree,
)

pytestmark = [
    pytest.mark.skipif(not Path("/usr/bin/dpkg").exists(), reason="no dpkg"),
]
COMMAND = "usr/bin/edgewhisper"
Package = Callable[..., Path]


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


def with_services(root: Path, tmp_path: Path, is_enabled: bool = True) -> tuple[str, Path]:
    """The PATH of a system whose systemctl writes down what it is told, and that list."""
    (root / "run/systemd/system").mkdir(parents=True)
    log = tmp_path / "log"
    text = f'echo "$@" >>{log}; [ "$2" != is-enabled ] || exit {int(not is_enabled)}'
    return write_program(tmp_path / "bin", "systemctl", text), log


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
