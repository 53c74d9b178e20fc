"""Synthetic speech as a folder of recordings, for distilling drafts of the demo model.

    python -m edgewhisper.distill.speech -o DIRECTORY --shards 10

The shards come after those that the demo model was trained on, so that a draft learns from what the model says of recordings that it
never heard. Needs espeak-ng.
"""

import argparse
import multiprocessing
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import soundfile
from tqdm import tqdm

from edgewhisper.errors import EdgeWhisperError, UsageError

from .corpus import shard_recordings
from .espeak import SAMPLE_RATE
from .recordings import Recording

FIRST_SHARD = 200
"""The demo model is trained on shards from 0 on, far fewer than this."""


def write_speech(
    folder: Path,
    shards: int,
    jobs: int = 1,
    recordings: Callable[[int], Iterator[Recording]] = shard_recordings,
) -> None:
    """Write the recordings of each shard into a folder of its own, with so many processes; those that are there are kept.

    Raises:
        UsageError: no shard.
        OSError: the folder cannot be written.
    """
    if shards < 1 or jobs < 1:
        raise UsageError("--shards and --jobs must be at least 1")
    folder.mkdir(parents=True, exist_ok=True)
    missing = [
        (folder, number, recordings)
        for number in range(FIRST_SHARD, FIRST_SHARD + shards)
        if not (folder / f"{number}").exists()
    ]
    # espeak-ng goes on from one utterance to the next: a process for each shard makes it what it is, whatever was there before.
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=1) as pool:
        written = pool.imap_unordered(_write_shard, missing, chunksize=1)
        for _ in tqdm(written, total=len(missing), desc="synthesise", unit="shard", disable=None):
            pass


def _write_shard(work: tuple[Path, int, Callable[[int], Iterator[Recording]]]) -> None:
    folder, number, recordings = work
    partial = folder / f"{number}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for index, recording in enumerate(recordings(number)):
        soundfile.write(partial / f"{index:04d}.flac", recording.samples, SAMPLE_RATE)
    partial.rename(folder / f"{number}")


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edgewhisper.distill.speech", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--shards", type=int, default=10, help="of 37 minutes (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        write_speech(arguments.output, arguments.shards, arguments.jobs)
    except EdgeWhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
