"""Data sets in Hugging Face's formats: from the hub, streamed, or from a folder, saved with `save_to_disk` or of Parquet files."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from edgewhisper.errors import CorpusError, MissingDependencyError

from .folders import NO_AUDIO, NO_TEXT
from .utterance import Corpus, Utterance

PREFIX = "hf:"
_TEXT = ("text", "sentence", "transcription", "transcript", "normalized_text", "raw_transcription")
_LANGUAGE = ("language", "locale")
_KEY = ("id", "path")


def is_saved(folder: Path) -> bool:
    """Whether a folder holds a data set."""
    saved = (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file()
    return saved or next(folder.rglob("*.parquet"), None) is not None


def data_set(source: str) -> Corpus:
    """A data set.

    Args:
        source: "hf:NAME[@CONFIGURATION][:SPLIT]" on the hub, or a folder with ":SPLIT" behind it where it has several.

    Raises:
        CorpusError: it cannot be loaded, or has no audio.
        MissingDependencyError: the package `datasets` is not installed.
    """
    try:
        import datasets
    except ImportError:
        raise MissingDependencyError(
            f"{source}: data sets need the package 'datasets'; run 'pip install edgewhisper[hf]'"
        ) from None
    name, _, split = source.removeprefix(PREFIX).partition(":")
    folder = Path(name)
    try:
        loaded = _from_folder(folder, datasets) if folder.is_dir() else _from_hub(name, datasets)
    except Exception as error:  # of many libraries
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise CorpusError(f"{source}: cannot be loaded ({line:.200})") from None
    chosen = _choose_split(loaded, split, source)
    if chosen.features is None:
        chosen = chosen._resolve_features()
    audio = [name for name, kind in chosen.features.items() if isinstance(kind, datasets.Audio)]
    if not audio:
        raise CorpusError(f"{source}: has no column of audio (it has: {', '.join(chosen.features)})")
    chosen = chosen.cast_column(audio[0], datasets.Audio(decode=False))
    columns = {
        role: next((column for column in names if column in chosen.features), None)
        for role, names in (("text", _TEXT), ("language", _LANGUAGE), ("key", _KEY))
    }
    size = len(chosen) if isinstance(chosen, datasets.Dataset) else None
    return Corpus(source, partial(_rows, chosen, audio[0], columns, folder), size)


def _from_folder(folder: Path, datasets: Any) -> Any:
    if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
        return datasets.load_from_disk(str(folder))
    return datasets.load_dataset("parquet", data_dir=str(folder), streaming=True)


def _from_hub(name: str, datasets: Any) -> Any:
    path, _, configuration = name.partition("@")
    return datasets.load_dataset(path, configuration or None, streaming=True)


def _choose_split(loaded: Any, split: str, source: str) -> Any:
    if not isinstance(loaded, Mapping):
        if split:
            raise CorpusError(f"{source}: has no splits; leave ':{split}' out")
        return loaded
    if not split and len(loaded) == 1:
        (split,) = loaded
    if split not in loaded:
        name = source.removesuffix(f":{split}")
        raise CorpusError(
            f"{source}: name one of its splits ({', '.join(loaded)}), such as {name}:{next(iter(loaded))}"
        )
    return loaded[split]


def _rows(rows: Any, audio: str, columns: Mapping[str, str | None], folder: Path) -> Iterator[Utterance]:
    text, language, key = (columns[role] for role in ("text", "language", "key"))
    for index, row in enumerate(rows):
        name = f"{index:08d}" if key is None else f"{index:08d}-{Path(str(row[key])).name}"
        found, problem = _audio_of(row[audio], folder), None
        said = None if text is None or row[text] is None else str(row[text]).strip()
        if found is None:
            problem = NO_AUDIO
        elif said is None:
            problem = NO_TEXT
        spoken = None if language is None or row[language] is None else str(row[language])
        yield Utterance(name, found, said, spoken, problem=problem)


def _audio_of(value: Mapping[str, Any] | None, folder: Path) -> Path | bytes | None:
    if value is None:
        return None
    if value.get("bytes"):
        return bytes(value["bytes"])
    path = value.get("path")
    found = [place for place in (Path(path), folder / path) if place.is_file()] if path else []
    return found[0] if found else None
