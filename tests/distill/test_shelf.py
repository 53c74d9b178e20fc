"""Lessons are read ahead and kept, and come as they were chosen."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.distill import shelf
from edgewhisper.distill.shelf import Shelf
from edgewhisper.distill.teacher import Lesson


def lesson(path: Path) -> Lesson:
    number = int(path.name)
    ids = np.full((1, 2), number, np.int32)
    return Lesson((), np.array([number], np.int32), 0, ids, ids.astype(np.float32))


SIZE = lesson(Path("0")).nbytes


@given(
    chosen=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4), max_size=20),
    room=st.integers(0, 10),
)
def test_batches_come_in_order_whatever_is_kept(chosen: list[list[int]], room: int) -> None:
    read: list[Path] = []

    def reading(path: Path) -> Lesson:
        read.append(path)
        return lesson(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shelf, "read_lesson", reading)
        paths = ([Path(str(number)) for number in numbers] for numbers in chosen)
        found = list(Shelf(room * SIZE).batches(paths))
    assert [[int(item.tokens[0]) for item in batch] for batch in found] == chosen
    different = {number for numbers in chosen for number in numbers}
    assert {int(path.name) for path in read} == different
    if room == 0:
        assert len(read) == sum(map(len, chosen))


def test_what_fits_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []

    def reading(path: Path) -> Lesson:
        read.append(path)
        return lesson(path)

    monkeypatch.setattr(shelf, "read_lesson", reading)
    kept = Shelf(2 * SIZE)
    paths = [Path(str(number)) for number in range(3)]
    assert len(list(kept.batches([paths]))) == 1
    assert len(list(kept.batches([paths]))) == 1
    assert sorted(read) == sorted([*paths, paths[2]])


def test_what_cannot_be_read_is_raised_where_it_is_wanted(tmp_path: Path) -> None:
    batches = Shelf().batches([[tmp_path / "gone.npz"]])
    with pytest.raises(FileNotFoundError, match="gone"):
        next(batches)
