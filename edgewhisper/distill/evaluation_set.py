"""Held-out recordings: the frozen evaluation set, made anew wherever it is needed, and a small development set.

Run as `python -m edgewhisper.distill.evaluation_set -o DIRECTORY`. The set is defined by the seeds below, the
espeak-ng version and a SHA-256 over all samples, both in `evaluation_set.json` beside this file.
"""

import argparse
import hashlib
import json
import multiprocessing
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from edgewhisper.bench.scoring import normalise
from edgewhisper.errors import EdgeWhisperError

from . import espeak
from .espeak import Voice
from .recordings import Recording, blank, clip, long_recording
from .sentences import EVALUATION_MIXTURE, Split, sentences
from .transcripts import Transcript, describe, write_recording, write_table
from .voices import seen_voice, unseen_voice

_DEFINITION = Path(__file__).with_name("evaluation_set.json")
_SEED = 31
_WORDS_PER_GROUP = 3_000
_LONG_SECONDS = (29.0, 90.0)
"""At most; one ends up to nine seconds earlier, where the next sentence does not fit: 20-90 s altogether."""

_BLANK_CLIPS = 60
_BLANK_SECONDS = (1.0, 8.0)
_LONG_BLANKS = 10
_LONG_BLANK_SECONDS = 36.0
"""Sixty clips of 4.5 s on average and ten of these are more than ten minutes."""

_DEVELOPMENT_SEED = 11
_DEVELOPMENT_CLIPS = 50
_DEVELOPMENT_LONG = 2
_DEVELOPMENT_LONG_SECONDS = 25.0

ChooseVoice = Callable[[str, random.Random], Voice]


@dataclass(frozen=True)
class Definition:
    """What the frozen set must come out as."""

    espeak_ng: str
    recordings: int
    words: dict[str, int]
    sha256: str
    """Over the hexadecimal SHA-256 of each group's little-endian 16-bit samples, in the table's order."""


@dataclass(frozen=True)
class _GroupResult:
    transcripts: list[Transcript]
    sha256: str
    words: int


def _seen() -> Iterator[Recording]:
    """English in seen voices."""
    return _clips("en", seen_voice, random.Random(_SEED))


def _unseen() -> Iterator[Recording]:
    """English in voices that training never uses."""
    return _clips("en", unseen_voice, random.Random(_SEED + 1))


def _german() -> Iterator[Recording]:
    """German, half of it in unseen voices."""
    rng = random.Random(_SEED + 2)
    return _clips("de", lambda language, rng: rng.choice((seen_voice, unseen_voice))(language, rng), rng)


def _clips(language: str, voice: ChooseVoice, rng: random.Random) -> Iterator[Recording]:
    texts = sentences(language, EVALUATION_MIXTURE, Split.HELD_OUT, rng)
    words = 0
    while words < _WORDS_PER_GROUP:
        recording = clip(texts, 1, language, voice(language, rng), rng)
        words += len(normalise(recording.text).split())
        yield recording


def _long() -> Iterator[Recording]:
    """English and German in turn, seen voices, many sentences each."""
    rng = random.Random(_SEED + 3)
    words = 0
    while words < _WORDS_PER_GROUP:
        for language in ("en", "de"):
            texts = sentences(language, EVALUATION_MIXTURE, Split.HELD_OUT, rng)
            seconds = rng.uniform(*_LONG_SECONDS)
            recording = long_recording(texts, seconds, language, seen_voice(language, rng), rng)
            words += len(normalise(recording.text).split())
            yield recording


def _blank() -> Iterator[Recording]:
    """Silence, noise and music; the language means nothing."""
    rng = random.Random(_SEED + 4)
    for _ in range(_BLANK_CLIPS):
        yield blank(rng.uniform(*_BLANK_SECONDS), "en", rng)
    for _ in range(_LONG_BLANKS):
        yield blank(_LONG_BLANK_SECONDS, "en", rng)


_GROUPS: dict[str, Callable[[], Iterator[Recording]]] = {
    "seen": _seen,
    "unseen": _unseen,
    "german": _german,
    "long": _long,
    "blank": _blank,
}


def development_recordings() -> Iterator[Recording]:
    """Held-out sentences in seen voices, to follow training by; drawn apart from the frozen set."""
    rng = random.Random(_DEVELOPMENT_SEED)
    for language in ("en", "de"):
        texts = sentences(language, EVALUATION_MIXTURE, Split.HELD_OUT, rng)
        for _ in range(_DEVELOPMENT_CLIPS):
            yield clip(texts, 1, language, seen_voice(language, rng), rng)
        for _ in range(_DEVELOPMENT_LONG):
            yield long_recording(texts, _DEVELOPMENT_LONG_SECONDS, language, seen_voice(language, rng), rng)


def write_evaluation_set(directory: Path, check: bool = True) -> Definition:
    """Writes the set's FLAC files and `transcripts.tsv`.

    Raises:
        EdgeWhisperError: the directory exists, or `check` is set and the samples are not those of the frozen set.
    """
    if directory.exists():
        raise EdgeWhisperError(f"{directory} exists already: remove it or choose another directory")
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        definition = _write(partial)
        if check:
            _check(definition)
        partial.rename(directory)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return definition


def frozen_definition() -> Definition:
    """What the frozen set is, from the file beside this module."""
    return Definition(**json.loads(_DEFINITION.read_text()))


def _write(directory: Path) -> Definition:
    # A fresh process for each group, because espeak-ng carries state from one utterance to the next.
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        results = pool.map(_write_group, [(directory, group) for group in _GROUPS], chunksize=1)
    write_table(directory, [transcript for result in results for transcript in result.transcripts])
    whole = hashlib.sha256("".join(result.sha256 for result in results).encode())
    return Definition(
        espeak_ng=espeak.version(),
        recordings=sum(len(result.transcripts) for result in results),
        words={group: result.words for group, result in zip(_GROUPS, results, strict=True)},
        sha256=whole.hexdigest(),
    )


def _write_group(job: tuple[Path, str]) -> _GroupResult:
    directory, group = job
    digest = hashlib.sha256()
    transcripts = []
    for number, recording in enumerate(_GROUPS[group]()):
        file = f"{group}-{number:03d}.flac"
        write_recording(directory, file, recording.samples)
        digest.update(recording.samples.astype("<i2").tobytes())
        transcripts.append(describe(recording, file, group))
    words = sum(len(normalise(transcript.text).split()) for transcript in transcripts)
    return _GroupResult(transcripts, digest.hexdigest(), words)


def _check(made: Definition) -> None:
    frozen = frozen_definition()
    if made.sha256 == frozen.sha256:
        return
    reason = (
        f"espeak-ng is {made.espeak_ng}, the set was frozen with {frozen.espeak_ng}"
        if made.espeak_ng != frozen.espeak_ng
        else "numpy or soxr compute differently here"
    )
    raise EdgeWhisperError(
        f"the recordings are not those of the frozen evaluation set: {reason}; "
        "--no-check writes them all the same, for figures of their own"
    )


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edgewhisper.distill.evaluation_set", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIRECTORY")
    parser.add_argument(
        "--no-check", action="store_true", help="accept recordings that differ from the frozen set"
    )
    arguments = parser.parse_args()
    try:
        definition = write_evaluation_set(arguments.output, check=not arguments.no_check)
    except EdgeWhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(asdict(definition), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
