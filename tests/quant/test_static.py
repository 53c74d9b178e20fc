"""Static INT8: close to fp32, and exact where rows must not depend on each other."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest
from edgewhisper.errors import BuildError
from edgewhisper.export.model_file import load_model
from edgewhisper.quant.static import (
    StaticOptions,
    affine,
    inputs_to_observe,
    quantize_columns,
    quantize_static,
)
from edgewhisper.quant.targets import number_formats
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.processor import host_target
from edgewhisper.runtime.session import SessionSettings
from tests.small_models import SMALL, export, random_checkpoint
from tests.static_models import TABLE, export_static

SETTINGS = SessionSettings(threads=2)
TOKENS = np.random.default_rng(5).integers(0, SMALL.vocab_size, SMALL.max_target_positions).tolist()
SOUND = np.random.default_rng(9).standard_normal((SMALL.n_mels, 200), dtype=np.float32)


def logits(folder: Path, manifest: Manifest) -> NDArray[np.float32]:
    decoder = Decoder(folder, manifest, SETTINGS)
    decoder.reset(Encoder(folder, manifest, SETTINGS).run(SOUND))
    return decoder.run(TOKENS)


def relative_error(x: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(x - reference) / np.linalg.norm(reference))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("static")
    return folder, export_static(random_checkpoint(), folder)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> NDArray[np.float32]:
    folder = tmp_path_factory.mktemp("fp32")
    return logits(folder, export(random_checkpoint(), folder))


@pytest.mark.parametrize(("target", "bound"), [("x86-vnni", 0.1), ("arm64", 0.1), ("x86-avx2", 0.15)])
def test_logits_are_close_to_those_of_fp32(
    target: str, bound: float, expected: NDArray[np.float32], tmp_path: Path
) -> None:
    if (target, host_target()) == ("x86-vnni", "x86-avx2"):
        pytest.skip("its products saturate on this processor")
    manifest = export_static(random_checkpoint(), tmp_path, target)
    assert relative_error(logits(tmp_path, manifest), expected) < bound


@pytest.mark.parametrize("options", [StaticOptions("percentile"), StaticOptions(smoothing=None)])
def test_other_ranges_and_no_smoothing_work_too(
    options: StaticOptions, expected: NDArray[np.float32], tmp_path: Path
) -> None:
    manifest = export_static(random_checkpoint(), tmp_path, options=options)
    assert relative_error(logits(tmp_path, manifest), expected) < 0.15


def test_every_weight_is_int8_and_stored_once(small: tuple[Path, Manifest]) -> None:
    folder, _ = small
    initializers = onnx.load(folder / "decoder.onnx", load_external_data=False).graph.initializer
    large = {tensor.name: tensor for tensor in initializers if int(np.prod(tensor.dims)) > SMALL.decoder_ffn}
    floats = {name for name, tensor in large.items() if tensor.data_type == onnx.TensorProto.FLOAT}
    assert floats == {"decoder.embed_positions.weight"}
    assert sum(tuple(tensor.dims) == (SMALL.vocab_size, SMALL.d_model) for tensor in large.values()) == 1


def test_readers_of_one_value_share_its_rounding(small: tuple[Path, Manifest]) -> None:
    nodes = onnx.load(small[0] / "decoder.onnx", load_external_data=False).graph.node
    rounded = [node.input[0] for node in nodes if node.op_type == "QuantizeLinear"]
    assert len(rounded) == len(set(rounded))


def test_avx2_weights_have_seven_bits(tmp_path: Path) -> None:
    export_static(random_checkpoint(), tmp_path, "x86-avx2")
    graph = onnx.load(tmp_path / "decoder.onnx").graph
    weights = [
        onnx.numpy_helper.to_array(tensor).astype(np.int64)
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.INT8 and len(tensor.dims) == 2
    ]
    assert max(np.abs(weight).max() for weight in weights) == 63


def test_quantizing_twice_is_refused(small: tuple[Path, Manifest]) -> None:
    with pytest.raises(BuildError, match="already quantized"):
        quantize_static(
            load_model(small[0] / "decoder.onnx"), {}, number_formats("x86-vnni"), StaticOptions()
        )


def test_a_value_that_was_not_observed_is_named(small: tuple[Path, Manifest]) -> None:
    model = load_model(small[0] / "fp32" / "decoder.onnx")
    name = inputs_to_observe(model)[0]
    with pytest.raises(BuildError, match=f"'{name}' was not observed"):
        quantize_static(model, {}, number_formats("x86-vnni"), StaticOptions())


@given(
    low=st.floats(-1e3, 0, width=32),
    high=st.floats(0, 1e3, width=32),
    target=st.sampled_from(["x86-vnni", "arm64"]),
)
def test_zero_is_a_level_and_the_range_is_held(low: float, high: float, target: str) -> None:
    formats = number_formats(target)
    scale, zero_point = affine(low, high, formats)
    info = np.iinfo(formats.activation)
    assert info.min <= zero_point <= info.max
    assert scale > 0
    # A rounded zero point moves the range by up to half a step.
    assert (float(info.min) - float(zero_point)) * scale <= low + 0.51 * scale
    assert (float(info.max) - float(zero_point)) * scale >= high - 0.51 * scale


@given(seed=st.integers(0, 100), limit=st.sampled_from([63, 127]))
def test_rounded_columns_are_at_most_half_a_step_away(seed: int, limit: int) -> None:
    matrix = np.random.default_rng(seed).standard_normal((20, 7)).astype(np.float32)
    matrix[:, 3] = 0
    values, scales = quantize_columns(matrix, limit)
    assert np.abs(values.astype(np.int64)).max() == limit
    assert np.all(np.abs(values * scales - matrix) <= 0.5001 * scales)


def test_the_runtime_reads_rows_of_the_heads_table(small: tuple[Path, Manifest]) -> None:
    folder, manifest = small
    decoder = manifest.graph("decoder")
    assert decoder.embedding is not None
    tensors: Mapping[str, ir.Value] = load_model(folder / "decoder.onnx").graph.initializers
    stored = tensors[TABLE].const_value
    assert isinstance(stored, ir.ExternalTensor)
    assert (decoder.embedding.offset, decoder.embedding.shape) == (stored.offset, tuple(stored.shape.numpy()))
