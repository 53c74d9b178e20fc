"""A folder as a .tar.gz whose bytes depend on nothing but its files."""

import gzip
import os
import tarfile
from pathlib import Path

from edgewhisper.atomic import atomic_file

_EPOCH = 315_532_800  # 1980-01-01, the first moment that every archive format can state


def source_date_epoch() -> int:
    """The time that files in archives bear, in seconds since 1970: $SOURCE_DATE_EPOCH, else a fixed one."""
    stated = os.environ.get("SOURCE_DATE_EPOCH", "")
    return int(stated) if stated.isdigit() else _EPOCH


def write_tarball(path: Path, folder: Path, top: str) -> None:
    """Write `folder` as `top` in the archive: files in order, owned by root, without the times of this machine."""
    with (
        atomic_file(path) as temporary,
        temporary.open("wb") as file,
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for source in [folder, *sorted(folder.rglob("*"))]:
            archive.add(source, Path(top, source.relative_to(folder)), recursive=False, filter=_as_root)


def _as_root(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    info.mtime = source_date_epoch()
    info.mode = 0o755 if info.isdir() or info.mode & 0o100 else 0o644
    return info
