"""Files and folders that appear whole or not at all, whatever stops their writer."""

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from edgewhisper import atomic
from edgewhisper.atomic import atomic_file, atomic_folder


def contents(folder: Path) -> dict[str, str]:
    """Every file below `folder` and its text."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert contents(tmp_path) == {"out.txt": "new"}


def test_a_failure_keeps_the_old_file_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")

    def interrupted() -> None:
        with atomic_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path) == {"out.txt": "old"}


def test_what_a_kill_left_of_a_file_goes_with_the_next_attempt(tmp_path: Path) -> None:
    path = tmp_path / "out.txt"
    path.write_text("old")
    script = """
        with atomic.atomic_file(Path(sys.argv[1])) as temporary:
            temporary.write_text("half")
            die()
    """
    killed(textwrap.dedent(script), str(path))
    assert len(os.listdir(tmp_path)) == 2
    (tmp_path / ".other.txt.99999999.tmp").write_text("of another file")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
    assert contents(tmp_path) == {"out.txt": "new", ".other.txt.99999999.tmp": "of another file"}


def test_a_file_that_another_process_is_writing_stays(tmp_path: Path) -> None:
    theirs = tmp_path / f".out.txt.{os.getppid()}.tmp"
    theirs.write_text("half")
    with atomic_file(tmp_path / "out.txt") as temporary:
        temporary.write_text("mine")
    assert theirs.read_text() == "half"


@pytest.fixture(params=["exchange", "two renames"])
def either_rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to replace a folder: systems without an exchange of names take two renames."""
    if request.param == "two renames":
        monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)


@pytest.mark.usefixtures("either_rename")
def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "model"
    for version in ("first", "second"):
        with atomic_folder(path) as temporary:
            (temporary / version).write_text(version)
    assert contents(tmp_path) == {"deep/model/second": "second"}
    assert os.listdir(path.parent) == ["model"]


@pytest.mark.usefixtures("either_rename")
def test_a_failure_keeps_the_old_folder_and_leaves_no_other(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")

    def fails() -> None:
        with atomic_folder(path) as temporary:
            (temporary / "a").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fails()
    assert contents(tmp_path) == {"model/a": "old"}
    assert os.listdir(tmp_path) == ["model"]


@pytest.mark.usefixtures("either_rename")
def test_a_link_to_a_folder_keeps_pointing_to_the_new_one(tmp_path: Path) -> None:
    path, link = tmp_path / "model", tmp_path / "current"
    path.mkdir()
    link.symlink_to(path)
    with atomic_folder(link) as temporary:
        (temporary / "a").write_text("new")
    assert link.is_symlink()
    assert contents(path) == {"a": "new"}
    assert sorted(os.listdir(tmp_path)) == ["current", "model"]


def test_a_name_with_pattern_characters_is_only_a_name(tmp_path: Path) -> None:
    neighbour = tmp_path / ".model1.99999999.tmp"
    neighbour.mkdir()
    with atomic_folder(tmp_path / "model[1]*") as temporary:
        (temporary / "a").write_text("new")
    assert neighbour.is_dir()
    assert contents(tmp_path) == {"model[1]*/a": "new"}


def killed(script: str, *arguments: str) -> None:
    """Run a script that kills itself with SIGKILL."""
    preamble = """
        import os, signal, sys
        from pathlib import Path
        from edgewhisper import atomic
        def die(*unused, **also_unused):
            os.kill(os.getpid(), signal.SIGKILL)
    """
    code = textwrap.dedent(preamble) + textwrap.dedent(script)
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL


WRITE = """
    with atomic.atomic_folder(Path(sys.argv[1])) as temporary:
        (temporary / "a").write_text("new")
        (temporary / "b").write_text("new")
"""


@pytest.mark.parametrize(
    ("moment", "survivor"),
    [
        ("atomic._flush = die", "old"),
        ("atomic._exchange = die", "old"),
        ("atomic.shutil.rmtree = die", "new"),
    ],
)
def test_a_kill_leaves_the_old_folder_or_the_new_one(tmp_path: Path, moment: str, survivor: str) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    killed(moment + textwrap.dedent(WRITE), str(path))
    assert set(contents(path).values()) == {survivor}
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("later")
    assert contents(tmp_path) == {"model/a": "later"}, "the next build clears away what the kill left"


def test_the_old_folder_comes_back_after_a_kill_between_two_renames(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("old")
    script = """
        atomic._exchange = lambda first, second: False
        rename = Path.rename
        Path.rename = lambda path, target: (rename(path, target), die())
    """
    killed(textwrap.dedent(script) + textwrap.dedent(WRITE), str(path))
    assert not path.exists()
    with pytest.raises(RuntimeError, match="stop"), atomic_folder(path):
        raise RuntimeError("stop")
    assert contents(tmp_path) == {"model/a": "old"}


def test_a_folder_that_another_process_is_writing_stays(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        theirs = tmp_path / f".model.{other.pid}.tmp"
        theirs.mkdir()
        with atomic_folder(tmp_path / "model") as temporary:
            (temporary / "a").write_text("mine")
        assert theirs.is_dir()
    finally:
        other.communicate()
