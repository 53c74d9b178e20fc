"""Any way to name a Whisper checkpoint -> the one in-memory form."""

import re
from pathlib import Path

from edgewhisper.errors import CheckpointError

from .cards import BUNDLED, CARDS, ModelCard, find_card
from .checkpoint import Checkpoint
from .ggml import is_ggml, read_ggml
from .hub import download
from .openai_pt import read_openai_pt
from .transformers_folder import read_transformers_folder

_FILE_SUFFIXES = (".pt", ".bin", ".safetensors")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def read_checkpoint(source: str | Path) -> Checkpoint:
    """Read a Whisper checkpoint.

    Args:
        source: a model's short name ("tiny.en"; "demo" and "demo-student" are bundled), a hub id ("openai/whisper-tiny.en"), or the
            path of a transformers folder, an OpenAI .pt file or a whisper.cpp ggml file. A short name wins over a folder
            of that name (write "./tiny.en" for the folder), a folder wins over a hub id.

    Raises:
        CheckpointError: there is no such checkpoint, or it cannot be read or is not Whisper.
        MissingDependencyError: the kind of checkpoint needs a package that is not installed.
    """
    try:
        return _read(source)
    except OSError as error:
        raise CheckpointError(f"{error.filename or source}: cannot be read ({error.strerror})") from None


def _read(source: str | Path) -> Checkpoint:
    name = str(source)
    card = _card_named(name) if isinstance(source, str) else None
    if card is not None and card.name in BUNDLED:
        folder = BUNDLED[card.name]
        return read_transformers_folder(folder, name=card.name, source="bundled", licence=card.licence)
    if card is not None and ("/" not in name or not Path(name).exists()):
        return _read_hub(card.hub_id or name, card)
    path = Path(source)
    if path.is_dir():
        return read_transformers_folder(path, name=path.resolve().name, source="transformers folder")
    if path.is_file():
        return _read_file(path)
    if isinstance(source, str) and _HUB_ID.fullmatch(name):
        return _read_hub(name, None)
    if isinstance(source, str) and path.name == name and path.suffix not in _FILE_SUFFIXES:
        find_card(name)
    raise CheckpointError(
        f"{name}: no such folder or file, model name or hub id; 'edgewhisper models' lists the names"
    )


def _card_named(name: str) -> ModelCard | None:
    wanted = name.lower()
    return next((card for card in CARDS if wanted in (card.name.lower(), (card.hub_id or "").lower())), None)


def _read_hub(hub_id: str, card: ModelCard | None) -> Checkpoint:
    return read_transformers_folder(
        download(hub_id),
        name=card.name if card else hub_id.rpartition("/")[2],
        source=hub_id,
        licence=card.licence if card else None,
    )


def _read_file(path: Path) -> Checkpoint:
    if is_ggml(path):
        return read_ggml(path)
    if path.suffix == ".pt":
        return read_openai_pt(path)
    if path.suffix == ".safetensors":
        raise CheckpointError(f"{path}: name the folder that holds it, with config.json and the tokenizer")
    raise CheckpointError(
        f"{path}: not a checkpoint; give a transformers folder, an OpenAI .pt or a whisper.cpp ggml file"
    )
