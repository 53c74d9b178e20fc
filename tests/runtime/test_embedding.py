"""Rows of the embedding table, read from a file."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.artifact import GraphInfo, TensorInfo, TensorLocation
from edgewhisper.errors import ArtifactError, IntegrityError
from edgewhisper.runtime.embedding import TokenEmbedding

VOCAB, WIDTH, OFFSET = 50, 7, 64
tokens_of_the_table = st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=8)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def graph(
    embedding: TensorLocation | None, scales: TensorLocation | None = None, width: int = WIDTH
) -> GraphInfo:
    """A decoder that takes rows of a table."""
    inputs = (TensorInfo("inputs_embeds", "float", ("batch", "sequence", width)),)
    return GraphInfo("decoder.onnx", "decoder", "", "fused", 20, inputs, (), (), "1.24.4", embedding, scales)


def rows(
    folder: Path, table: GraphInfo, tokens: list[int], *stored: NDArray[np.generic]
) -> NDArray[np.float32]:
    """The rows of `tokens` from a file with the arrays `stored` behind OFFSET bytes."""
    (folder / "weights.bin").write_bytes(b"x" * OFFSET + b"".join(map(np.ndarray.tobytes, stored)) + b"more")
    embedding = TokenEmbedding(folder, table)
    out = np.empty((len(tokens), embedding.width), np.float32)
    embedding.rows(tokens, out)
    return out


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@given(tokens=tokens_of_the_table)
@in_one_folder
def test_rows_are_those_of_the_table(tmp_path: Path, dtype: type[np.floating], tokens: list[int]) -> None:
    table = np.random.default_rng(0).standard_normal((VOCAB, WIDTH)).astype(dtype)
    name = "float16" if dtype is np.float16 else "float"
    read = rows(tmp_path, graph(TensorLocation("weights.bin", OFFSET, name, table.shape)), tokens, table)
    assert np.array_equal(read, table[tokens].astype(np.float32))


@pytest.mark.parametrize("shape", [(VOCAB,), (VOCAB, 1)])
@given(tokens=tokens_of_the_table)
@in_one_folder
def test_int8_rows_are_multiplied_by_the_scale_of_their_row(
    tmp_path: Path, shape: tuple[int, ...], tokens: list[int]
) -> None:
    random = np.random.default_rng(0)
    table = random.integers(-128, 128, (VOCAB, WIDTH), dtype=np.int8)
    scales = random.random(VOCAB, np.float32)
    located = graph(
        TensorLocation("weights.bin", OFFSET + scales.nbytes, "int8", table.shape),
        TensorLocation("weights.bin", OFFSET, "float", shape),
    )
    read = rows(tmp_path, located, tokens, scales, table)
    assert np.array_equal(read, table[tokens] * scales[tokens, None])


@pytest.mark.parametrize("width", [48, 64])
@pytest.mark.parametrize("scale_type", ["float", "float16"])
@pytest.mark.parametrize("bits", [4, 8])
@given(tokens=tokens_of_the_table, block_size=st.sampled_from([16, 32, 128]))
@in_one_folder
def test_blocks_are_unpacked_and_multiplied_by_their_scales(
    tmp_path: Path, bits: int, scale_type: str, width: int, tokens: list[int], block_size: int
) -> None:
    random = np.random.default_rng(0)
    blocks = -(-width // block_size)
    values = random.integers(0, 2**bits, (VOCAB, blocks, block_size), dtype=np.uint8)
    scales = random.random((VOCAB, blocks), np.float32).astype(
        np.float16 if scale_type == "float16" else np.float32
    )
    packed = values if bits == 8 else values[..., ::2] | values[..., 1::2] << 4
    located = graph(
        TensorLocation("weights.bin", OFFSET, f"uint{bits}", values.shape),
        TensorLocation("weights.bin", OFFSET + packed.nbytes, scale_type, scales.shape),
        width,
    )
    read = rows(tmp_path, located, tokens, packed, scales)
    expected = (values - 2.0 ** (bits - 1)) * scales[..., None].astype(np.float64)
    expected = expected.reshape(VOCAB, -1)[tokens, :width]
    assert np.array_equal(read, expected.astype(np.float32))


PLAIN, INT8 = (VOCAB, WIDTH), TensorLocation("weights.bin", 0, "int8", (VOCAB, WIDTH))
SCALES = TensorLocation("weights.bin", 0, "float", (VOCAB,))


@pytest.mark.parametrize(
    ("values", "scales"),
    [
        (None, None),
        (TensorLocation("weights.bin", 0, "float", (VOCAB + 1, WIDTH)), None),
        (TensorLocation("weights.bin", 4, "float", PLAIN), None),
        (TensorLocation("weights.bin", -4, "float", PLAIN), None),
        (TensorLocation("weights.bin", 0, "int4", PLAIN), None),
        (TensorLocation("weights.bin", 0, "float", (VOCAB * WIDTH,)), None),
        (TensorLocation("weights.bin", 0, "float", (VOCAB, WIDTH - 1)), None),
        (TensorLocation("weights.bin", 0, "float", (-VOCAB, -WIDTH)), None),
        (TensorLocation("weights.bin", 0, "float", ()), None),
        (TensorLocation("weights.bin", 0, "float", PLAIN), SCALES),
        (INT8, None),
        (INT8, TensorLocation("weights.bin", 0, "int8", (VOCAB,))),
        (INT8, TensorLocation("weights.bin", 0, "float", (VOCAB, 2))),
        (INT8, TensorLocation("weights.bin", 0, "float", (VOCAB - 1,))),
        (INT8, TensorLocation("weights.bin", VOCAB * WIDTH * 4 - 4, "float", (VOCAB,))),
        (TensorLocation("weights.bin", 0, "uint8", PLAIN), SCALES),
        (TensorLocation("weights.bin", 0, "uint8", (VOCAB, 2, 16)), SCALES),
        (TensorLocation("weights.bin", 0, "uint8", (VOCAB, 1, 16)), SCALES),
        (TensorLocation("weights.bin", 0, "uint4", (VOCAB, 1, 7)), SCALES),
    ],
)
def test_a_table_that_the_file_does_not_hold_is_refused(
    tmp_path: Path, values: TensorLocation | None, scales: TensorLocation | None
) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(VOCAB * WIDTH * 4))
    with pytest.raises(ArtifactError, match=r"(weights\.bin|decoder\.onnx): .*embedding table; build"):
        TokenEmbedding(tmp_path, graph(values, scales))


@pytest.mark.parametrize("width", [0, "d"])
def test_a_graph_without_a_width_is_refused(tmp_path: Path, width: int) -> None:
    (tmp_path / "weights.bin").write_bytes(bytes(VOCAB * WIDTH * 4))
    with pytest.raises(ArtifactError, match="no readable embedding table"):
        TokenEmbedding(tmp_path, graph(TensorLocation("weights.bin", 0, "float", PLAIN), width=width))


def test_a_file_cut_off_while_in_use_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(bytes(VOCAB * WIDTH * 4))
    embedding = TokenEmbedding(tmp_path, graph(TensorLocation("weights.bin", 0, "float", PLAIN)))
    path.write_bytes(b"")
    with pytest.raises(IntegrityError, match="cut off while in use"):
        embedding.rows([1], np.empty((1, WIDTH), np.float32))
