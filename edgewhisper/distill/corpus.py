"""The training corpus: shards of features and transcripts, each made by its own process from its own seed.

A shard depends on nothing but the corpus seed and its number, so an interrupted synthesis goes on where it
stopped. espeak-ng carries state from one utterance to the next; a fresh process per shard makes it repeatable.
"""

import json
import multiprocessing
import os
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from .espeak import Word
from .features import LogMel, log_mel
from .recordings import Recording, SpokenSentence, blank, clip, long_recording
from .sentences import TRAINING_MIXTURE, Split, sentences
from .voices import seen_voice

_SEED = 20_261_122

_CLIPS_PER_LANGUAGE = {"en": 250, "de": 240}
_LONG_PER_LANGUAGE = 7
_BLANK_CLIPS = 12
_SEVERAL_SHARE = 0.12
"""Share of clips that hold two or three sentences."""

_LONG_SECONDS = (15.0, 60.0)
_BLANK_SECONDS = (0.3, 8.0)
_LONG_BLANK_SECONDS = (9.0, 25.0)
_LONG_BLANK_SHARE = 0.25


@dataclass(frozen=True)
class Transcribed:
    """Features of one recording with what is said in it."""

    features: LogMel
    language: str
    sentences: tuple[SpokenSentence, ...]


def synthesise(directory: Path, shards: int, processes: int) -> None:
    """Writes the shards that are missing: `NNN.npy` with features, `NNN.json` with transcripts."""
    directory.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(shards) if not _index_file(directory, number).exists()]
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, initializer=_use_one_thread, maxtasksperchild=1) as pool:
        jobs = pool.imap_unordered(_write_shard, [(directory, number) for number in missing], chunksize=1)
        for _ in tqdm(jobs, total=len(missing), desc="synthesise", unit="shard"):
            pass


def load(directory: Path) -> list[Transcribed]:
    """Reads every shard; features stay on disk and are mapped."""
    corpus: list[Transcribed] = []
    for path in sorted(directory.glob("*.json")):
        frames = np.load(path.with_suffix(".npy"), mmap_mode="r")
        corpus.extend(_parse(record, frames) for record in json.loads(path.read_text()))
    return corpus


def shard_recordings(number: int) -> Iterator[Recording]:
    """The recordings of one shard, in order."""
    rng = random.Random(_SEED * 1000 + number)
    for language, clips in _CLIPS_PER_LANGUAGE.items():
        texts = sentences(language, TRAINING_MIXTURE, Split.TRAINING, rng)
        for _ in range(clips):
            count = rng.choice((2, 2, 3)) if rng.random() < _SEVERAL_SHARE else 1
            yield clip(texts, count, language, seen_voice(language, rng), rng)
        for _ in range(_LONG_PER_LANGUAGE):
            yield long_recording(texts, rng.uniform(*_LONG_SECONDS), language, seen_voice(language, rng), rng)
    for _ in range(_BLANK_CLIPS):
        span = _LONG_BLANK_SECONDS if rng.random() < _LONG_BLANK_SHARE else _BLANK_SECONDS
        yield blank(rng.uniform(*span), rng.choice(list(_CLIPS_PER_LANGUAGE)), rng)


def _write_shard(job: tuple[Path, int]) -> None:
    directory, number = job
    features: list[npt.NDArray[np.float16]] = []
    records = []
    first = 0
    for recording in shard_recordings(number):
        spectrum = log_mel(recording.samples)
        features.append(spectrum.frames)
        records.append(
            {
                "language": recording.language,
                "first": first,
                "frames": len(spectrum.frames),
                "padding": spectrum.padding,
                "sentences": [[asdict(word) for word in sentence.words] for sentence in recording.sentences],
            }
        )
        first += len(spectrum.frames)
    index = _index_file(directory, number)
    partial = index.with_suffix(".partial")
    with partial.open("wb") as stream:
        np.save(stream, np.concatenate(features))
    partial.replace(index.with_suffix(".npy"))
    partial.write_text(json.dumps(records, ensure_ascii=False))
    partial.replace(index)


def _parse(record: dict[str, object], frames: npt.NDArray[np.float16]) -> Transcribed:
    first, count = int(str(record["first"])), int(str(record["frames"]))
    spoken = []
    for words in record["sentences"]:  # type: ignore[attr-defined]
        parsed = tuple(Word(**word) for word in words)
        spoken.append(SpokenSentence(" ".join(word.text for word in parsed), parsed))
    return Transcribed(
        LogMel(frames[first : first + count], float(str(record["padding"]))),
        str(record["language"]),
        tuple(spoken),
    )


def _index_file(directory: Path, number: int) -> Path:
    return directory / f"{number:03d}.json"


def _use_one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
