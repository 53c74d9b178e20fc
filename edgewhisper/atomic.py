"""Files and folders that appear whole or not at all: written beside their place, then renamed."""

import contextlib
import ctypes
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, else remove it.

    What a kill left of an earlier attempt is removed too.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for leftover in _leftovers(path):
        leftover.unlink(missing_ok=True)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path`; rename it to `path` when the block ends well, else remove it.

    An existing folder stays whole until the new one is complete, then both are exchanged in one step where
    the system can (Linux `renameat2`): a kill at any moment leaves the old folder or the new one. Elsewhere
    the old one is set aside between two renames; the next call puts right what a kill between them left.
    """
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    retired = path.with_name(f".{path.name}.retired")
    if retired.exists() and not path.exists():
        retired.rename(path)
    for leftover in (retired, *_leftovers(path)):
        if leftover.exists():
            shutil.rmtree(leftover, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        if not path.exists():
            temporary.rename(path)
        elif not _exchange(temporary, path):
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _leftovers(path: Path) -> Iterator[Path]:
    """Temporary paths of `path` whose process is gone."""
    for name in os.listdir(path.parent):
        match = re.fullmatch(re.escape(f".{path.name}.") + "([0-9]{1,9})[.]tmp", name)
        if match and not _another_process(int(match[1])):
            yield path.parent / name


def _flush(file: Path) -> None:
    with file.open("r+b") as handle:
        os.fsync(handle.fileno())


def _another_process(pid: int) -> bool:
    """Whether `pid` runs and is not this process."""
    try:
        if sys.platform != "win32":  # where os.kill would end it
            os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two names in one step; False where the system or the file system cannot."""
    if sys.platform != "linux" or not hasattr(libc := ctypes.CDLL(None), "renameat2"):
        return False
    at_fdcwd, exchange = -100, 2  # AT_FDCWD of linux/fcntl.h, RENAME_EXCHANGE of linux/fs.h
    return bool(libc.renameat2(at_fdcwd, os.fsencode(first), at_fdcwd, os.fsencode(second), exchange) == 0)
