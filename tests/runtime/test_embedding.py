"""Rows of the embedding table, read from a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgewhisper.artifact import TensorLocation
from edgewhisper.errors import ArtifactError, IntegrityError
from edgewhisper.runtime.embedding import TokenEmbedding

VOCAB, WIDTH, OFFSET = 50, 7, 64


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@given(tokens=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=8))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_rows_are_those_of_the_table(tmp_path: Path, dtype: type[np.floating], tokens: list[int]) -> None:
    table = np.random.default_rng(0).standard_normal((VOCAB, WIDTH)).astype(dtype)
    (tmp_path / "weights.bin").write_bytes(b"x" * OFFSET + table.tobytes() + b"more")
    name = "float16" if dtype is np.float16 else "float"
    embedding = TokenEmbedding(tmp_path, TensorLocation("weights.bin", OFFSET, name, table.shape))
    out = np.empty((len(tokens), WIDTH), np.float32)
    embedding.rows(tokens, out)
    assert np.array_equal(out, table[tokens].astype(np.float32))


@pytest.mark.parametrize(
    "location",
    [
        TensorLocation("weights.bin", 0, "float", (VOCAB + 1, WIDTH)),
        TensorLocation("weights.bin", 4, "float", (VOCAB, WIDTH)),
        TensorLocation("weights.bin", -4, "float", (VOCAB, WIDTH)),
        TensorLocation("weights.bin", 0, "int4", (VOCAB, WIDTH)),
        TensorLocation("weights.bin", 0, "float", (VOCAB * WIDTH,)),
        TensorLocation("weights.bin", 0, "float", (-VOCAB, -WIDTH)),
    ],
)
def test_a_table_that_the_file_does_not_hold_is_refused(tmp_path: Path, location: TensorLocation) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(VOCAB * WIDTH * 4))
    with pytest.raises(ArtifactError, match=r"weights\.bin: .*embedding table; build"):
        TokenEmbedding(tmp_path, location)


def test_a_file_cut_off_while_in_use_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(VOCAB * WIDTH * 4))
    embedding = TokenEmbedding(tmp_path, TensorLocation("weights.bin", 0, "float", (VOCAB, WIDTH)))
    path.write_bytes(b"")
    with pytest.raises(IntegrityError, match="cut off while in use"):
        embedding.rows([1], np.empty((1, WIDTH), np.float32))
