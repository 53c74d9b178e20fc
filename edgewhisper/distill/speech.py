"""Synthetic speech as a folder of recordings, for distilling drafts of the demo model.

    python -m edgewhisper.distill.speech -o DIRECTORY --shards 10

The shards come after those that the demo model was trained on, so that a draft learns from what the model says of recordings that it
never heard. Needs espeak-ng.
"""

import argparse
import shutil
import sys
from pathlib import Path

import soundfile
from tqdm import tqdm

from edgewhisper.errors import EdgeWhisperError, UsageError

from .corpus import shard_recordings
from .espeak import SAMPLE_RATE

FIRST_SHARD = 200
"""The demo model is trained on shards from 0 on, far fewer than this."""


def write_speech(folder: Path, shards: int) -> None:
    """Write the recordings of each shard into a folder of its own; those that are there are kept.

    Raises:
        UsageError: no shard.
        OSError: the folder cannot be written.
    """
    if shards < 1:
        raise UsageError("--shards must be at least 1")
    for number in tqdm(
        range(FIRST_SHARD, FIRST_SHARD + shards), desc="synthesise", unit="shard", disable=None
    ):
        target = folder / f"{number}"
        if target.exists():
            continue
        partial = folder / f"{number}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for index, recording in enumerate(shard_recordings(number)):
            soundfile.write(partial / f"{index:04d}.flac", recording.samples, SAMPLE_RATE)
        partial.rename(target)


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edgewhisper.distill.speech", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--shards", type=int, default=10, help="of 37 minutes (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        write_speech(arguments.output, arguments.shards)
    except EdgeWhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
