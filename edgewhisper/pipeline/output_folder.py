"""Where an artifact goes: nothing else is lost there, it has room, and what the system says about writing is one line."""

import contextlib
import errno
import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edgewhisper.artifact import MANIFEST, MEASURED
from edgewhisper.errors import BuildError, UsageError

# Graphs, vocabulary and manifest, which come on top of the weights: 3.5 MB for Whisper's vocabulary.
DISK_MARGIN = 16 * 2**20


def check_replaceable(output: Path) -> None:
    """Check that nothing but an artifact is lost where the new one goes.

    Raises:
        UsageError: `output` is a file, or a folder that holds what no build wrote.
    """
    try:
        found = {path.name for path in output.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise UsageError(f"{output}: is not a folder; name another for the artifact") from None
    except OSError as error:
        raise UsageError(f"{output}: cannot be read ({error.strerror}); name another folder") from None
    if not found:
        return
    try:
        manifest = json.loads((output / MANIFEST).read_bytes())
        written = {MANIFEST, MEASURED, *(info["name"] for info in manifest["files"])}
    except (OSError, ValueError, RecursionError, LookupError, TypeError):
        raise UsageError(f"{output}: exists and is not an artifact; name another folder") from None
    if foreign := sorted(found - written):
        raise UsageError(f"{output}: also holds '{foreign[0]}', which would be lost; move it away first")


def check_space(output: Path, weights: int) -> None:
    """Check that the disk has room for the new artifact beside an old one.

    Args:
        output: the artifact's folder.
        weights: bytes of the weights that will be written at most, those of scratch files included.

    Raises:
        BuildError: it has not.
    """
    needed = weights + DISK_MARGIN
    output = output.resolve()
    existing = next(parent for parent in output.parents if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise BuildError(
            f"{output}: needs {_megabytes(needed)}, the disk has {_megabytes(free)} free; free some or name another folder"
        )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"


@contextlib.contextmanager
def scratch_folder(folder: Path) -> Iterator[Path]:
    """A folder inside `folder`, the one that becomes the artifact: removed when the block ends, and with `folder` whatever happens."""
    scratch = Path(tempfile.mkdtemp(prefix=".scratch-", dir=folder))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(output: Path) -> Iterator[None]:
    """Turn what the system says about writing into one line."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise BuildError(
                f"{output}: the disk is full, nothing was written; free some space and build again"
            ) from None
        raise BuildError(
            f"{output}: cannot be written ({error.strerror or error}); name another folder"
        ) from None
