"""The build: checkpoint -> graphs, vocabulary, manifest, parity check -> artifact."""

import contextlib
import errno
import gc
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import MANIFEST, MEASURED, GraphInfo, ModelDimensions, load_manifest
from edgewhisper.atomic import atomic_folder
from edgewhisper.errors import ArtifactError, BuildError, MissingDependencyError, UsageError
from edgewhisper.models.checkpoint import Checkpoint, expected_shapes
from edgewhisper.models.reader import read_checkpoint

from .artifact_writer import write_manifest, write_vocabulary
from .measurements import Measurements, write_measurements
from .reference import missing_packages

PRECISIONS = ("fp32",)
# Graphs, vocabulary and manifest, which come on top of the weights: 3.5 MB for Whisper's vocabulary.
DISK_MARGIN = 16 * 2**20


@dataclass(frozen=True)
class BuildStep:
    """A step of a build that begins now: number 1 .. total."""

    number: int
    total: int
    name: str


Progress = Callable[[BuildStep], None]


def build(
    model: str | Path,
    output: str | Path,
    *,
    precision: str = "fp32",
    parity: bool | None = None,
    progress: Progress = lambda step: None,
) -> Path:
    """Build an artifact.

    Args:
        model: what `models.reader.read_checkpoint` reads: a name, hub id, folder or file.
        output: the artifact's folder. An artifact that is there is replaced when the new one is complete.
        precision: of the weights: "fp32".
        parity: compare the graphs with PyTorch; None: where PyTorch, transformers and ONNX Runtime are installed.
        progress: called as each step begins.

    Returns:
        The artifact's folder.

    Raises:
        UsageError: an unknown precision, or an `output` that holds something other than an artifact.
        CheckpointError: the model cannot be read.
        MissingDependencyError: a package that the checkpoint, the graphs or the parity check need.
        BuildError: the parity check failed, no device would read the artifact, or the disk is full or not writable. Nothing is written then.
    """
    output = Path(output)
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision '{precision}'; known are {', '.join(PRECISIONS)}")
    _check_replaceable(output)
    missing = missing_packages()
    if parity and missing:
        raise MissingDependencyError(
            f"the parity check needs {', '.join(missing)}; run 'pip install edgewhisper[cpu,torch]' "
            "or leave out --parity"
        )
    parity = not missing if parity is None else parity
    steps = _Steps(progress, total=5 if parity else 3)

    with steps("read the checkpoint"):
        checkpoint = read_checkpoint(model)
    _check_space(output, checkpoint.dimensions)
    with _disk_errors(output), atomic_folder(output) as folder:
        with steps("write the graphs"):
            graphs = _export(checkpoint, folder)
        with steps("write the manifest"):
            write_vocabulary(checkpoint.vocabulary, folder)
            manifest = write_manifest(checkpoint, graphs, {"precision": precision}, folder)
            _require_readable(folder, model)
        report = None
        if parity:
            from .parity import compute_expected, measure_parity, require_parity

            with steps("run PyTorch"):
                expected = compute_expected(checkpoint)
                del checkpoint  # so that its memory is free when the graphs are loaded
                gc.collect()
            with steps("compare with PyTorch"):
                report = measure_parity(folder, manifest, expected)
                require_parity(report)
        write_measurements(folder, Measurements(report, steps.seconds))
    return output


def _export(checkpoint: Checkpoint, folder: Path) -> dict[str, GraphInfo]:
    try:
        from edgewhisper.export.graphs import export_graphs
    except ImportError as error:
        raise MissingDependencyError(
            f"a build needs the package '{error.name}'; run 'pip install edgewhisper[build]'"
        ) from None
    return export_graphs(checkpoint, folder)


def _require_readable(folder: Path, model: str | Path) -> None:
    """Read the manifest as the device will.

    Raises:
        BuildError: it would be refused.
    """
    try:
        load_manifest(folder)
    except ArtifactError as error:
        reason = str(error).removeprefix(f"{folder / MANIFEST}: ")
        raise BuildError(
            f"{model}: cannot be described in a manifest ({reason}); nothing was written"
        ) from None


class _Steps:
    """Announces and times the steps of a build."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._progress(BuildStep(len(self.seconds) + 1, self._total, name))
        begin = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begin, 3)


def _check_replaceable(output: Path) -> None:
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


def _check_space(output: Path, dimensions: ModelDimensions) -> None:
    """Check that the disk has room for the new artifact beside an old one.

    Raises:
        BuildError: it has not.
    """
    parameters = sum(map(math.prod, expected_shapes(dimensions).values()))
    needed = 4 * parameters + DISK_MARGIN
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
def _disk_errors(output: Path) -> Iterator[None]:
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
