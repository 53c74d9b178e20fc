"""Speech for distillation as a folder of recordings."""

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgewhisper.distill.recordings import Recording, blank
from edgewhisper.distill.speech import write_speech
from edgewhisper.errors import UsageError


def recordings(number: int) -> Iterator[Recording]:
    """Three recordings without speech, so that nothing has to be installed."""
    rng = random.Random(number)
    return (blank(0.5, "en", rng) for _ in range(3))


def test_shards_are_written_whole_and_once(tmp_path: Path) -> None:
    (tmp_path / "200.partial").mkdir()  # of a run that was killed
    write_speech(tmp_path, 2, 2, recordings)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.flac"))
    assert files == [f"{shard}/000{index}.flac" for shard in (200, 201) for index in range(3)]
    samples, rate = soundfile.read(tmp_path / "200" / "0000.flac", dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(samples, next(recordings(200)).samples)
    before = (tmp_path / "200" / "0000.flac").stat().st_mtime_ns
    write_speech(tmp_path, 3, 1, recordings)
    assert (tmp_path / "200" / "0000.flac").stat().st_mtime_ns == before
    assert (tmp_path / "202").is_dir()
    assert not list(tmp_path.glob("*.partial"))


def test_no_shard_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--shards and --jobs must be at least 1"):
        write_speech(tmp_path, 0)
