"""install.sh and uninstall.sh: what a user meets, and that a release is replaced whole or not at all."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.bundle.small_bundle import (
    FAILING_SELF_TEST,
    PYTHON,
    SmallBundle,
    answer,
    environment,
    install,
    run,
    small_bundle,
    write_program,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="GNU tools, as Debian has them")


@pytest.fixture
def old(tmp_path: Path) -> SmallBundle:
    return small_bundle(tmp_path, "old")


@pytest.fixture
def new(tmp_path: Path) -> SmallBundle:
    return small_bundle(tmp_path, "new")


@pytest.fixture
def root(tmp_path: Path, old: SmallBundle) -> Path:
    """A device with the old release."""
    folder = tmp_path / "root"
    folder.mkdir()
    done = install(old, folder)
    assert done.returncode == 0, done.stderr
    return folder


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 1 and, as the last line, an error with all words."""
    assert done.returncode == 1, done
    line = done.stderr.splitlines()[-1]
    assert line.startswith("edgewhisper: error: ")
    assert all(word in done.stderr for word in words), done.stderr


def releases(root: Path) -> list[str]:
    return sorted(os.listdir(root / "opt" / "edgewhisper"))


def test_the_command_works_after_installing_and_nothing_else_is_left(root: Path) -> None:
    assert answer(root) == "old"
    assert releases(root) == [".lock", "0.1.0-old", "current"]


def test_an_upgrade_replaces_the_release(root: Path, new: SmallBundle) -> None:
    assert install(new, root).returncode == 0
    assert answer(root) == "new"
    assert releases(root) == [".lock", "0.1.0-new", "current"]


def test_the_same_release_can_be_installed_again_and_mends_a_damaged_one(
    root: Path, old: SmallBundle
) -> None:
    (root / "opt/edgewhisper/current/model.txt").write_text("damaged")
    for _ in range(3):
        assert install(old, root).returncode == 0
        assert answer(root) == "old"
        assert len(releases(root)) == 3


@pytest.mark.parametrize("first", ["a-first", "z-first"])
def test_of_two_bundles_in_one_folder_the_one_unpacked_last_is_installed(tmp_path: Path, first: str) -> None:
    """Whichever name comes first in the alphabet; tar replaces install.sh and leaves the release before beside it."""
    bundles = [small_bundle(tmp_path, model) for model in (first, "middle")]
    folder = tmp_path / "unpacked"
    for bundle in bundles:
        shutil.copytree(bundle.top, folder, dirs_exist_ok=True)
    root = tmp_path / "root"
    done = run(folder / "install.sh", "--root", root)
    assert done.returncode == 0, done.stderr
    assert answer(root) == "middle"


def test_an_installer_without_its_release_says_so(root: Path, old: SmallBundle, new: SmallBundle) -> None:
    shutil.copytree(old.tree, new.top / old.tree.name)
    shutil.rmtree(new.tree)
    refused(
        install(new, root), "the release 0.1.0-new does not lie beside install.sh", "unpack the bundle again"
    )


def test_what_a_release_says_of_itself_is_not_believed_before_its_checksum(
    root: Path, new: SmallBundle
) -> None:
    conf = new.tree / "release.conf"
    conf.write_text(conf.read_text().replace("machine=", "machine=un"))
    refused(install(new, root), "is damaged (release.conf)", "copy the bundle to this device again")


def test_somebody_elses_command_is_left_alone(tmp_path: Path, new: SmallBundle) -> None:
    command = tmp_path / "root" / "usr" / "local" / "bin" / "edgewhisper"
    command.parent.mkdir(parents=True)
    command.write_text("mine")
    refused(install(new, tmp_path / "root"), f"{command} is there, and not from here")
    assert command.read_text() == "mine"
    command.unlink()
    command.symlink_to("/home/me/venv/bin/edgewhisper")
    refused(install(new, tmp_path / "root"), f"{command} is there, and not from here")
    assert os.readlink(command) == "/home/me/venv/bin/edgewhisper"
    assert not (tmp_path / "root" / "opt").exists()


def test_it_is_told_what_can_be_done_now(tmp_path: Path, new: SmallBundle) -> None:
    line = install(new, tmp_path / "root").stdout.splitlines()[-1]
    assert "edgewhisper listen" in line
    assert "sudo systemctl enable --now edgewhisper" in line


def test_a_release_that_fails_its_self_test_is_not_installed(root: Path, tmp_path: Path) -> None:
    refused(
        install(small_bundle(tmp_path, "bad", self_test=FAILING_SELF_TEST), root), "other words", "unchanged"
    )
    assert answer(root) == "old"


@pytest.mark.parametrize(
    "name", ["model.txt", "lib/__main__.py", "SHA256SUMS", "bin/edgewhisper", "release.conf"]
)
def test_one_damaged_bit_is_noticed(root: Path, new: SmallBundle, name: str) -> None:
    path = new.tree / name
    path.write_bytes(path.read_bytes()[:-2] + bytes([path.read_bytes()[-2] ^ 1]) + path.read_bytes()[-1:])
    assert install(new, root).returncode == 1
    assert answer(root) == "old"


def test_a_missing_file_is_noticed(root: Path, new: SmallBundle) -> None:
    (new.tree / "lib" / "helper.py").unlink()
    refused(install(new, root), "lib/helper.py", "copy the bundle to this device again")
    assert answer(root) == "old"


def test_a_bundle_for_another_processor_is_refused(root: Path, tmp_path: Path) -> None:
    refused(install(small_bundle(tmp_path, machine="riscv64"), root), "is for riscv64", "this machine is")


def test_a_bundle_for_another_python_is_refused(root: Path, tmp_path: Path) -> None:
    refused(install(small_bundle(tmp_path, python="3.9"), root), "is for Python 3.9", f"py{PYTHON}")


def test_a_32_bit_system_is_told_even_under_a_64_bit_kernel(
    root: Path, new: SmallBundle, tmp_path: Path
) -> None:
    write_program(tmp_path / "bin", "python32", "echo aarch64 32 3.11")
    refused(
        install(new, root, EDGEWHISPER_PYTHON=str(tmp_path / "bin" / "python32")),
        "this system is 32-bit", "install the 64-bit Raspberry Pi OS",
    )  # fmt: skip


def test_a_device_without_python_is_told_what_to_install(root: Path, new: SmallBundle) -> None:
    refused(install(new, root, EDGEWHISPER_PYTHON="/nowhere/python3"), "apt install python3")


def test_too_little_disk_is_refused_before_anything_is_copied(root: Path, tmp_path: Path) -> None:
    refused(install(small_bundle(tmp_path, disk_kb=10**12), root), "MB are free", "1000000000 MB are needed")
    assert releases(root) == [".lock", "0.1.0-old", "current"]


def test_a_disk_that_becomes_full_leaves_the_old_release(
    root: Path, new: SmallBundle, tmp_path: Path
) -> None:
    path = write_program(tmp_path / "bin", "cp", 'echo "cp: No space left on device" >&2; exit 1')
    refused(install(new, root, PATH=path), "No space left", "could not be copied")
    assert answer(root) == "old"


def test_an_interpreter_may_be_several_words(root: Path, new: SmallBundle) -> None:
    assert install(new, root, EDGEWHISPER_PYTHON=f"env -u NOTHING {sys.executable}").returncode == 0


def test_a_second_installation_at_the_same_time_is_refused(root: Path, new: SmallBundle) -> None:
    with (root / "opt/edgewhisper/.lock").open() as lock:
        subprocess.run(["flock", "0"], stdin=lock, check=True)
        refused(install(new, root), "another installation is running")


def test_a_package_in_the_same_place_is_left_alone(root: Path, new: SmallBundle, tmp_path: Path) -> None:
    path = write_program(
        tmp_path / "bin",
        "dpkg-query",
        'case "$*" in *"-S /usr/bin/edgewhisper") echo edgewhisper-demo-int8-py3.11: /usr/bin/edgewhisper ;; *) exit 1 ;; esac',
    )
    refused(install(new, root, PATH=path), "apt remove edgewhisper-demo-int8-py3.11")
    uninstaller = root / "opt/edgewhisper/current/uninstall.sh"
    refused(run(uninstaller, "--root", root, PATH=path), "apt remove edgewhisper-demo-int8-py3.11")
    assert answer(root) == "old"


def test_an_unknown_option_is_bad_usage(new: SmallBundle) -> None:
    done = run(new.top / "install.sh", "--prefix", "/usr")
    assert done.returncode == 2
    assert "unknown option '--prefix'" in done.stderr


def test_the_unit_runs_the_installed_command_and_settings_are_kept(root: Path, new: SmallBundle) -> None:
    assert (
        "ExecStart=/usr/local/bin/edgewhisper"
        in (root / "etc/systemd/system/edgewhisper.service").read_text()
    )
    (root / "etc/default/edgewhisper").write_text("mine\n")
    install(new, root)
    assert (root / "etc/default/edgewhisper").read_text() == "mine\n"


def test_settings_that_nobody_has_changed_become_those_of_the_new_release(root: Path, tmp_path: Path) -> None:
    newer = small_bundle(tmp_path, "newer", defaults="EDGEWHISPER_OPTIONS=newer\n")
    assert install(newer, root).returncode == 0
    assert (root / "etc/default/edgewhisper").read_text() == "EDGEWHISPER_OPTIONS=newer\n"


@pytest.mark.parametrize(("is_enabled", "action"), [(True, "restart"), (False, "try-restart")])
def test_the_service_is_started_again_only_after_the_self_test(
    root: Path, new: SmallBundle, tmp_path: Path, is_enabled: bool, action: str
) -> None:
    """And one that does not run only if it is enabled. That systemd cannot be reloaded is no reason to fail."""
    (root / "run/systemd/system").mkdir(parents=True)
    log = tmp_path / "log"
    text = f'echo "$@" >>{log}; case "$*" in *is-enabled*) exit {int(not is_enabled)} ;; daemon-reload) exit 1 ;; esac'
    path = write_program(tmp_path / "bin", "systemctl", text)
    bad = small_bundle(tmp_path, "bad", self_test=FAILING_SELF_TEST)
    assert install(bad, root, PATH=path).returncode == 1
    assert not log.exists()
    assert install(new, root, PATH=path).returncode == 0
    assert log.read_text().splitlines() == [
        "daemon-reload", "--quiet is-enabled edgewhisper.service", f"{action} edgewhisper.service",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "milliseconds", [0, 100, 200, *(pytest.param(time, marks=pytest.mark.slow) for time in range(5, 600, 15))]
)
def test_a_kill_at_any_moment_leaves_a_release_that_works(
    root: Path, tmp_path: Path, milliseconds: int
) -> None:
    slow = small_bundle(tmp_path, "new", self_test="import time; time.sleep(0.1)\n")
    process = subprocess.Popen(
        [slow.top / "install.sh", "--root", root], env=environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(milliseconds / 1000)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert answer(root) in ("old", "new")
    assert install(slow, root).returncode == 0
    assert answer(root) == "new"
    assert len(releases(root)) == 3


@pytest.mark.parametrize(
    "name",
    [
        *("mv", "ln"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("cp", "chmod", "sha256sum", "sync", "sed", "mkdir", "rm", "mktemp", "df")
        ),
    ],
)
def test_a_kill_before_each_command_leaves_a_release_that_works(
    root: Path, new: SmallBundle, tmp_path: Path, name: str
) -> None:
    """The first, second ... call of a command kills the installer instead of doing its work."""
    for call in range(1, 5):
        count = tmp_path / "count"
        count.write_text("")
        real = shutil.which(name, path="/usr/bin:/bin")
        text = f'echo >>{count}\n[ "$(wc -l <{count})" -ne {call} ] || kill -9 $PPID\nexec {real} "$@"'
        path = write_program(tmp_path / "bin", name, text)
        install(new, root, PATH=path)
        assert answer(root) in ("old", "new")
    (tmp_path / "bin" / name).unlink()
    assert install(new, root).returncode == 0
    assert answer(root) == "new"
    assert len(releases(root)) == 3


@pytest.mark.parametrize("script", ["install.sh", "uninstall.sh"])
def test_a_kill_while_a_release_is_removed_leaves_nothing_of_it(
    root: Path, new: SmallBundle, tmp_path: Path, script: str
) -> None:
    """release.conf, by which a release is known, may be the first of its files to go."""
    scripts = {"install.sh": new.top, "uninstall.sh": root / "opt/edgewhisper/current"}
    removes = 'case "$*" in *0.1.0-old*) rm -f "$2/release.conf"; kill -9 $PPID; exit ;; esac'
    path = write_program(tmp_path / "bin", "rm", f'PATH=/usr/bin:/bin\n{removes}\nexec rm "$@"')
    done = run(scripts[script] / script, "--root", root, PATH=path)
    assert done.returncode == -signal.SIGKILL
    assert install(new, root).returncode == 0
    assert answer(root) == "new"
    assert len(releases(root)) == 3


def test_uninstalling_removes_all_but_the_settings(root: Path) -> None:
    assert run(root / "opt/edgewhisper/current/uninstall.sh", "--root", root).returncode == 0
    left = [path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir()]
    assert left == ["etc/default/edgewhisper"]


def test_uninstalling_leaves_what_it_has_not_installed(root: Path) -> None:
    mine = root / "opt/edgewhisper/my-artifact/manifest.json"
    mine.parent.mkdir()
    mine.write_text("{}")
    done = run(root / "opt/edgewhisper/current/uninstall.sh", "--root", root)
    assert done.returncode == 0, done.stderr
    assert f"left in {root}/opt/edgewhisper" in done.stdout
    assert releases(root) == ["my-artifact"]
    assert mine.read_text() == "{}"


def test_uninstalling_waits_for_no_installation(root: Path) -> None:
    with (root / "opt/edgewhisper/.lock").open() as lock:
        subprocess.run(["flock", "0"], stdin=lock, check=True)
        refused(
            run(root / "opt/edgewhisper/current/uninstall.sh", "--root", root), "an installation is running"
        )
    assert answer(root) == "old"


def test_purging_removes_the_settings_too(root: Path) -> None:
    assert run(root / "opt/edgewhisper/current/uninstall.sh", "--purge", "--root", root).returncode == 0
    assert [path for path in root.rglob("*") if not path.is_dir()] == []


def test_uninstalling_stops_the_service(root: Path, tmp_path: Path) -> None:
    (root / "run/systemd/system").mkdir(parents=True)
    log = tmp_path / "log"
    path = write_program(tmp_path / "bin", "systemctl", f'echo "$@" >>{log}')
    assert run(root / "opt/edgewhisper/current/uninstall.sh", "--root", root, PATH=path).returncode == 0
    assert log.read_text().splitlines() == ["disable --now edgewhisper.service", "daemon-reload"]


def test_uninstalling_nothing_is_an_error(old: SmallBundle, tmp_path: Path) -> None:
    refused(run(old.tree / "uninstall.sh", "--root", tmp_path / "empty"), "nothing is installed")
