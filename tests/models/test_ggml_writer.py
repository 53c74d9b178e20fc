"""Files written for whisper.cpp: read back, and compared with ggml's own quantization."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.errors import CheckpointError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.ggml_writer import GgmlKind, write_ggml
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.runtime.mel import mel_filter_bank
from tests.models.checkpoint_files import SMALL, read_small

MATRIX = "decoder.layers.0.fc1.weight"
SHAPE = (SMALL.decoder_ffn, SMALL.d_model)
FILTERS = mel_filter_bank(SMALL.n_mels, 400, 16_000)
# What a block may hold: any size of values, one value far off the others, equal values, nothing.
SCALES = st.sampled_from([0.0, 1e-40, 1e-6, 0.02, 1.0, 500.0])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_small(tmp_path_factory.mktemp("small") / "folder")


def written(checkpoint: Checkpoint, folder: Path, kind: GgmlKind) -> Checkpoint:
    write_ggml(checkpoint, folder / "ggml.bin", kind, FILTERS)
    return read_checkpoint(folder / "ggml.bin")


def is_quantized(name: str, array: NDArray[np.generic]) -> bool:
    return array.ndim == 2 and "embed_positions" not in name


def test_f32_gives_the_same_checkpoint_back(small: Checkpoint, tmp_path: Path) -> None:
    found = written(small, tmp_path, "f32")
    assert found.dimensions == small.dimensions
    assert found.token_ids == small.token_ids
    assert found.vocabulary == small.vocabulary
    assert found.model.checkpoint_sha256 == small.model.checkpoint_sha256


def test_f16_rounds_matrices_and_filters_only(small: Checkpoint, tmp_path: Path) -> None:
    found = written(small, tmp_path, "f16").tensors
    for name, array in small.tensors.items():
        halved = is_quantized(name, array) or array.ndim == 3
        expected = array.astype(np.float16) if halved else array
        assert found[name].dtype == expected.dtype, name
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


@pytest.mark.parametrize("kind", ["q8_0", "q5_1"])
def test_quantized_matrices_are_those_of_the_gguf_package(
    small: Checkpoint, tmp_path: Path, kind: GgmlKind
) -> None:
    found = written(small, tmp_path, kind).tensors
    for name, array in small.tensors.items():
        if is_quantized(name, array):
            np.testing.assert_array_equal(found[name], by_gguf(array, kind), err_msg=name)
        else:
            expected = array.astype(np.float16) if array.ndim == 3 else array
            np.testing.assert_array_equal(found[name], expected, err_msg=name)


@pytest.mark.parametrize("kind", ["q8_0", "q5_1"])
@given(seed=st.integers(0, 2**32 - 1), scale=SCALES, offset=SCALES, outlier=st.booleans())
def test_blocks_of_any_values_are_those_of_the_gguf_package(
    small: Checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
    kind: GgmlKind,
    seed: int,
    scale: float,
    offset: float,
    outlier: bool,
) -> None:
    values = np.random.default_rng(seed).standard_normal(SHAPE, np.float32) * np.float32(scale)
    values += np.float32(offset)
    if outlier:
        values[:, 0] *= 40
    tensors = dict(small.tensors) | {MATRIX: values}
    folder = tmp_path_factory.mktemp("blocks")
    found = written(replace(small, tensors=tensors), folder, kind).tensors[MATRIX]
    np.testing.assert_array_equal(found, by_gguf(values, kind))


def by_gguf(array: NDArray[np.generic], kind: str) -> NDArray[np.generic]:
    """Through ggml's own Python package and back; values so small that it divides by them without end become 0."""
    from gguf import GGMLQuantizationType, quants

    normal = np.where(np.abs(array) < 1e-30, 0, array).astype(np.float32)
    number = GGMLQuantizationType[kind.upper()]
    values: NDArray[np.generic] = quants.dequantize(quants.quantize(normal, number), number)
    return values


@pytest.mark.parametrize("kind", ["q8_0", "q5_1"])
def test_rows_that_are_no_whole_blocks_are_refused(small: Checkpoint, tmp_path: Path, kind: GgmlKind) -> None:
    narrow = replace(small, dimensions=replace(SMALL, d_model=80))
    with pytest.raises(CheckpointError, match=f"{kind} stores 32 values together, rows of 80"):
        write_ggml(narrow, tmp_path / "ggml.bin", kind, FILTERS)
    assert list(tmp_path.iterdir()) == []


def test_the_mel_filters_precede_the_vocabulary(small: Checkpoint, tmp_path: Path) -> None:
    write_ggml(small, tmp_path / "ggml.bin", "f16", FILTERS)
    content = (tmp_path / "ggml.bin").read_bytes()
    sizes = np.frombuffer(content, "<i4", 2, offset=48)
    assert tuple(sizes) == (80, 201)
    np.testing.assert_array_equal(
        np.frombuffer(content, "<f4", FILTERS.size, offset=56).reshape(80, 201), FILTERS
    )
