"""The artifact: a folder that the build host writes and the device reads.

`manifest.json` describes every other file in the folder; the runtime takes each constant from it. The folder is written
beside its destination and renamed, and never changed afterwards. `measured.json` (parity, accuracy, times) lies beside
the manifest and is not hashed, so that the same checkpoint, options and versions give the same bytes.

Within a major format version readers ignore keys and graphs that they do not know.
"""

import contextlib
import ctypes
import dataclasses
import hashlib
import json
import os
import shutil
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgewhisper.errors import ArtifactError, IntegrityError

FORMAT_VERSION = "1.0"
MANIFEST = "manifest.json"
MEASURED = "measured.json"
TOKENIZER = "tokenizer.json"
TOKENS = "tokens.bin"


@dataclass(frozen=True)
class ModelDimensions:
    """The shape of a Whisper model."""

    n_mels: int
    d_model: int
    encoder_layers: int
    encoder_heads: int
    encoder_ffn: int
    decoder_layers: int
    decoder_heads: int
    decoder_ffn: int
    vocab_size: int
    max_source_positions: int  # encoder positions of one window; a position is two mel frames
    max_target_positions: int  # decoder positions, prompt included


@dataclass(frozen=True)
class TokenIds:
    """The special tokens and the rules of generation, as ids of this checkpoint's vocabulary."""

    end_of_text: int  # the first special token: every smaller id is text
    start_of_transcript: int
    transcribe: int | None  # None in an English-only vocabulary that lacks it
    translate: int | None
    start_of_previous: int
    no_speech: int | None
    no_timestamps: int
    timestamp_begin: int  # id of <|0.00|>; following ids are 0.02 s apart
    languages: dict[str, int]  # language code -> id; empty for an English-only model
    suppress: tuple[int, ...] = ()
    begin_suppress: tuple[int, ...] = ()
    max_initial_timestamp_index: int | None = 50
    alignment_heads: tuple[tuple[int, int], ...] = ()

    @property
    def is_multilingual(self) -> bool:
        """Whether prompts name a language and a task."""
        return bool(self.languages)


@dataclass(frozen=True)
class AudioSettings:
    """How audio becomes log-mel frames."""

    n_mels: int
    n_frames: int  # mel frames of one window
    sample_rate: int = 16_000
    n_fft: int = 400
    hop_length: int = 160
    time_precision: float = 0.02  # seconds between two timestamp tokens


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a graph; a dimension is a number or a symbol."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphInfo:
    """One ONNX graph of the artifact."""

    file: str
    kind: str  # encoder, decoder, later draft kinds
    precision: str
    ops: Literal["fused", "portable"]
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    weights: tuple[str, ...]  # external data files that the graph maps
    min_onnxruntime: str


@dataclass(frozen=True)
class FileInfo:
    """One hashed file of the artifact."""

    name: str
    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class ModelInfo:
    """Where the weights come from."""

    name: str
    source: str  # how the checkpoint was named: hub id, or the kind of file
    checkpoint_sha256: str
    licence: str | None = None
    random_weights: bool = False


@dataclass(frozen=True)
class BuildInfo:
    """What built the artifact; nothing that differs from machine to machine."""

    versions: dict[str, str]
    options: dict[str, str]
    target: str
    calibration_sha256: str | None = None


@dataclass(frozen=True)
class Manifest:
    """The contents of `manifest.json`."""

    model: ModelInfo
    dimensions: ModelDimensions
    tokens: TokenIds
    audio: AudioSettings
    graphs: dict[str, GraphInfo]
    files: tuple[FileInfo, ...]
    build: BuildInfo
    format_version: str = field(default=FORMAT_VERSION)

    def to_json(self) -> str:
        """The manifest as text; keys sorted, so that equal manifests are equal bytes."""
        return json.dumps(dataclasses.asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def graph(self, name: str) -> GraphInfo:
        """The graph `name`.

        Raises:
            ArtifactError: the artifact has no such graph.
        """
        try:
            return self.graphs[name]
        except KeyError:
            raise ArtifactError(f"the artifact has no graph '{name}' (it has: {', '.join(self.graphs)}); build it again") from None


def load_manifest(folder: Path) -> Manifest:
    """Read and check `folder/manifest.json`; every file it names must be there with the stated size.

    Raises:
        ArtifactError: no folder or manifest, not JSON, a missing or mistyped key, a newer major version, a file name that
            leaves the folder, or a file that is missing or has another size.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise ArtifactError(f"{folder}: no such artifact folder; build one with 'edgewhisper build MODEL -o {folder}'")
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{folder}: not an artifact (no {MANIFEST}); build one with 'edgewhisper build'") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged, not JSON ({error}); build or copy the artifact again") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(version, str) or not version.split(".")[0].isdigit():
        raise ArtifactError(f"{path}: no valid 'format_version'; build the artifact again")
    if int(version.split(".")[0]) > int(FORMAT_VERSION.split(".")[0]):
        raise ArtifactError(f"{path}: format {version} is newer than this release reads ({FORMAT_VERSION}); upgrade edgewhisper")
    manifest = typing.cast(Manifest, _parse(Manifest, data, str(path)))
    _check_files(folder, manifest)
    return manifest


def _check_files(folder: Path, manifest: Manifest) -> None:
    known = {info.name for info in manifest.files}
    needed = [(graph.file, *graph.weights) for graph in manifest.graphs.values()]
    for name in sorted(known | {name for names in needed for name in names}):
        if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
            raise ArtifactError(f"{folder / MANIFEST}: file name {name!r} is not a plain name; do not use this artifact")
        if name not in known:
            raise ArtifactError(f"{folder / MANIFEST}: '{name}' is used by a graph but has no checksum; build the artifact again")
    for info in manifest.files:
        path = folder / info.name
        if path.is_symlink() or not path.is_file():
            raise ArtifactError(f"{path}: missing from the artifact; build or copy it again")
        if path.stat().st_size != info.size:
            raise IntegrityError(f"{path}: {path.stat().st_size} bytes instead of {info.size}; build or copy the artifact again")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(folder: Path, info: FileInfo) -> None:
    """Compare a file's checksum with the manifest's.

    Raises:
        IntegrityError: they differ.
    """
    if sha256_of(folder / info.name) != info.sha256:
        raise IntegrityError(f"{folder / info.name}: wrong checksum, the file is damaged; build or copy the artifact again")


def describe_file(path: Path) -> FileInfo:
    """Name, size and checksum of a file."""
    return FileInfo(name=path.name, size=path.stat().st_size, sha256=sha256_of(path))


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` when the block ends well, remove it otherwise."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a new folder beside `path`; put it in the place of `path` when the block ends well, remove it otherwise.

    An existing folder stays whole until the new one is complete, then both are exchanged in one step where the system
    can (Linux `renameat2`), so that a kill at any moment leaves the old folder or the new one.
    """
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        if not _process_runs(stale.name.split(".")[-2]):
            shutil.rmtree(stale, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            if file.is_file():
                with file.open("rb") as handle:
                    os.fsync(handle.fileno())
        if not path.exists():
            temporary.rename(path)
        elif not _exchange(temporary, path):
            retired = path.with_name(f".{path.name}.retired")
            path.rename(retired)
            temporary.rename(path)
            shutil.rmtree(retired)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _process_runs(pid: str) -> bool:
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return int(pid) != os.getpid()


def _exchange(first: Path, second: Path) -> bool:
    at_fdcwd, rename_exchange = -100, 2
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done: int = rename(at_fdcwd, os.fsencode(first), at_fdcwd, os.fsencode(second), rename_exchange)
    return done == 0


def _parse(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON data into `kind`: a dataclass, dict, tuple, optional, literal or plain type.

    Raises:
        ArtifactError: a key is missing or has another type; the message names it.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise _mistyped(where, "an object")
        hints = typing.get_type_hints(kind)
        found = {}
        for item in dataclasses.fields(kind):
            if item.name in value:
                found[item.name] = _parse(hints[item.name], value[item.name], f"{where}: {item.name}")
            elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                raise ArtifactError(f"{where}: '{item.name}' is missing; build the artifact again")
        return kind(**found)  # type: ignore[operator]
    if origin is dict:
        if not isinstance(value, Mapping):
            raise _mistyped(where, "an object")
        return {key: _parse(args[1], item, f"{where}: {key}") for key, item in value.items()}
    if origin is tuple:
        if not isinstance(value, list) or (args[-1] is not Ellipsis and len(args) != len(value)):
            raise _mistyped(where, "a list" if args[-1] is Ellipsis else f"a list of {len(args)}")
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        return tuple(_parse(item_kind, item, where) for item_kind, item in zip(kinds, value, strict=True))
    if origin is Literal:
        if value not in args:
            raise _mistyped(where, " or ".join(map(repr, args)))
        return value
    choices = args if origin in (types.UnionType, typing.Union) else (kind,)
    if float in choices and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, choices) or (isinstance(value, bool) and bool not in choices):
        raise _mistyped(where, " or ".join(choice.__name__ for choice in choices))
    return value


def _mistyped(where: str, expected: str) -> ArtifactError:
    return ArtifactError(f"{where}: must be {expected}; build the artifact again")
