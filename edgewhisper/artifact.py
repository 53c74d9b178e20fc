"""The artifact: a folder that the build host writes and the device reads.

`manifest.json` describes every other file in the folder; the runtime takes each constant from it. The folder
is written beside its destination and renamed, and never changed afterwards. `measured.json` (parity, times)
lies beside the manifest and is not hashed: equal checkpoints, options and versions give equal bytes.

Within a major format version readers ignore keys and graphs that they do not know.
"""

import dataclasses
import json
import os
import re
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgewhisper.errors import ArtifactError, IntegrityError

FORMAT_VERSION = "1.0"
MANIFEST = "manifest.json"
MEASURED = "measured.json"
TOKENIZER = "tokenizer.json"
TOKENS = "tokens.bin"
DRAFT = "draft"  # the name of a draft's graph
DRAFT_ENCODER = "draft_encoder"  # of its encoder's, where it does not read what the main encoder gives
STEP, HEADS = "step", "heads"  # kinds of it
PHRASES = "phrases.npy"  # phrases that are looked up, in place of a draft's graph
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # fits every file system, stays in its folder
_AGAIN = "build or copy the artifact again"


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
class TensorLocation:
    """A tensor that the runtime itself reads from a weights file."""

    file: str
    offset: int  # bytes
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RewriteInfo:
    """What a pass made of one node, or why it left the node alone."""

    node: str
    method: str  # such as "F(4,3)"; "none" where the node was left
    macs_before: int = 0  # multiply-accumulates for one window
    macs_after: int = 0
    error: float | None = None  # ||y - y64|| / ||y64|| against float64, on this model's weights
    reason: str | None = None  # why the node was left, or that the choice was not measured on the target


@dataclass(frozen=True)
class GraphInfo:
    """One ONNX graph of the artifact."""

    file: str
    kind: str  # encoder, decoder, or a draft's: STEP or HEADS
    precision: str
    ops: Literal["fused", "portable"]
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    weights: tuple[str, ...]  # external data files that the graph maps
    min_onnxruntime: str
    embedding: TensorLocation | None = None  # where the rows of inputs_embeds come from
    embedding_scales: TensorLocation | None = None  # of a quantized table, [vocab_size, blocks of a row]
    rewrites: tuple[RewriteInfo, ...] = ()
    head_tokens: tuple[int, ...] | None = None  # of a draft: the ids that its logits stand for; None: all


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
    short_windows: bool = (
        False  # error rates with windows as long as their speech were measured, and are as good
    )


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
        if name not in self.graphs:
            raise ArtifactError(f"the artifact has no graph '{name}'; build it again")
        return self.graphs[name]


def load_manifest(folder: Path, *, draft_may_lack: bool = False) -> Manifest:
    """Read and check `folder/manifest.json`; every file it names must be there with the stated size.

    With `draft_may_lack`, not those that only a draft needs, without which speech becomes text too.

    Raises:
        ArtifactError: no folder or manifest, not JSON, a missing or mistyped key, a newer major version, a
            file name that leaves the folder, or a file that is missing, a link or of another size.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        found = f"not an artifact (no {MANIFEST})" if os.path.isdir(folder) else "no such artifact folder"
        raise ArtifactError(f"{folder}: {found}; build one with 'edgewhisper build MODEL -o DIR'") from None
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: damaged, not JSON ({error}); {_AGAIN}") from None
    version = data.get("format_version") if isinstance(data, dict) else None
    if not isinstance(version, str) or not re.fullmatch(r"[0-9]{1,9}\.[0-9]{1,9}", version):
        raise ArtifactError(f"{path}: no valid 'format_version'; {_AGAIN}")
    if int(version.split(".")[0]) > int(FORMAT_VERSION.split(".")[0]):
        raise ArtifactError(f"{path}: format {version} is newer than {FORMAT_VERSION}; upgrade edgewhisper")
    manifest: Manifest = parse_json(Manifest, data, str(path))
    _check(folder, manifest, draft_files(manifest) if draft_may_lack else frozenset())
    return manifest


def draft_files(manifest: Manifest) -> frozenset[str]:
    """The names of files that only a draft needs."""
    of_draft, others = {PHRASES}, set[str]()
    for key, graph in manifest.graphs.items():
        (of_draft if key in (DRAFT, DRAFT_ENCODER) else others).update((graph.file, *graph.weights))
    return frozenset(of_draft - others)


def _check(folder: Path, manifest: Manifest, unchecked: frozenset[str]) -> None:
    where = folder / MANIFEST
    constants = dataclasses.asdict(manifest.dimensions) | dataclasses.asdict(manifest.audio)
    for key, value in constants.items():
        if not 0 < value < 2**31:
            raise ArtifactError(f"{where}: '{key}' is {value}, out of range; {_AGAIN}")
    hashed = {info.name for info in manifest.files}
    used = {name for graph in manifest.graphs.values() for name in (graph.file, *graph.weights)}
    tables = [x for graph in manifest.graphs.values() for x in (graph.embedding, graph.embedding_scales)]
    used |= {table.file for table in tables if table}
    for name in sorted(hashed | used):
        if not PLAIN_NAME.fullmatch(name):
            raise ArtifactError(f"{where}: file name {name!a} is not a plain name; do not use this artifact")
        if name not in hashed:
            raise ArtifactError(f"{where}: a graph uses '{name}', which has no checksum; {_AGAIN}")
    for info in manifest.files:
        if info.name not in unchecked:
            check_file(folder, info)


def check_file(folder: Path, info: FileInfo) -> None:
    """Check that a file is there with the stated size.

    Raises:
        ArtifactError: it is missing, a link or of another size.
    """
    path = folder / info.name
    if path.is_symlink():
        raise ArtifactError(f"{path}: is a link, which may lead anywhere; copy the file itself there")
    if not path.is_file():
        raise ArtifactError(f"{path}: missing from the artifact; {_AGAIN}")
    if (size := path.stat().st_size) != info.size:
        raise IntegrityError(f"{path}: {size} bytes instead of {info.size}; {_AGAIN}")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    import hashlib  # loads OpenSSL, 4 MB that only the first run on a device needs

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify_file(folder: Path, info: FileInfo) -> None:
    """Compare a file's checksum with the manifest's.

    Raises:
        IntegrityError: they differ.
        ArtifactError: the file cannot be read.
    """
    path = folder / info.name
    try:
        found = sha256_of(path)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}); {_AGAIN}") from None
    if found != info.sha256:
        raise IntegrityError(f"{path}: wrong checksum, the file is damaged; {_AGAIN}")


def parse_json(kind: Any, value: Any, where: str) -> Any:
    """Turn JSON data into `kind`: a dataclass, dict, tuple, optional, literal or plain type.

    Unknown keys are ignored.

    Raises:
        ArtifactError: a key is missing or has another type; the message begins with `where` and names it.
    """
    if type(None) in typing.get_args(kind):
        if value is None:
            return None
        kind = typing.get_args(kind)[0]
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if (origin is dict or dataclasses.is_dataclass(kind)) and not isinstance(value, Mapping):
        raise _mistyped(where, "an object")
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        found = {}
        for item in dataclasses.fields(kind):
            if item.name in value:
                found[item.name] = parse_json(hints[item.name], value[item.name], f"{where}: {item.name}")
            elif item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING:
                raise ArtifactError(f"{where}: '{item.name}' is missing; {_AGAIN}")
        return kind(**found)  # type: ignore[operator]
    if origin is dict:
        return {key: parse_json(args[1], item, f"{where}: {key!a}") for key, item in value.items()}
    if origin is tuple:
        if not isinstance(value, list) or (args[-1] is not Ellipsis and len(args) != len(value)):
            raise _mistyped(where, "a list" if args[-1] is Ellipsis else f"a list of {len(args)}")
        kinds = args[:1] * len(value) if args[-1] is Ellipsis else args
        return tuple(parse_json(item_kind, item, where) for item_kind, item in zip(kinds, value, strict=True))
    if origin is Literal:
        if value not in args:
            raise _mistyped(where, " or ".join(map(repr, args)))
        return value
    choices = args if origin is types.UnionType else (kind,)
    if kind is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    if type(value) not in choices or (kind is float and not abs(value) <= sys.float_info.max):
        raise _mistyped(where, " or ".join(choice.__name__ for choice in choices))
    return value


def _mistyped(where: str, expected: str) -> ArtifactError:
    return ArtifactError(f"{where}: must be {expected}; {_AGAIN}")
