"""Weight-only graphs: close to fp32, the same bits however many rows a product has, the table stored once."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgewhisper.artifact import Manifest, ModelDimensions
from edgewhisper.errors import BuildError, UsageError
from edgewhisper.export.model_file import load_model
from edgewhisper.quant.blocks import quantize
from edgewhisper.quant.linear import values
from edgewhisper.quant.weight_only import EXACT_BLOCK_SIZES, WeightOnlyOptions, quantize_weights
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.embedding import TokenEmbedding
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.exactness import single_rows_are_exact
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.state import DeviceState
from tests.quant.converted import convert
from tests.small_models import SMALL, export, random_checkpoint

TWO_THREADS = SessionSettings(threads=2)
INT4, INT8 = WeightOnlyOptions(4), WeightOnlyOptions(8, 64, "round-to-nearest")
Floats = NDArray[np.float32]
# tiny.en, but for the encoder, of which nothing is asked here.
TINY_DECODER = ModelDimensions(
    n_mels=80, d_model=384, encoder_layers=1, encoder_heads=6, encoder_ffn=384, decoder_layers=4, decoder_heads=6,
    decoder_ffn=1536, vocab_size=51864, max_source_positions=1500, max_target_positions=448,
)  # fmt: skip


@dataclass(frozen=True)
class Small:
    """A small model's fp32 graphs."""

    folder: Path
    manifest: Manifest


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("fp32")
    return Small(folder, export(random_checkpoint(), folder))


def quantized(source: Small, folder: Path, options: WeightOnlyOptions) -> Small:
    """Both graphs with quantized weights."""
    return Small(
        folder, convert(source.folder, source.manifest, folder, lambda m: quantize_weights(m, options))
    )


def windows(dimensions: ModelDimensions = SMALL) -> Floats:
    """A window of noise as log-mel frames."""
    shape = (dimensions.n_mels, 2 * dimensions.max_source_positions)
    return np.random.default_rng(0).standard_normal(shape, np.float32)


def linear_graph(weight: Floats, bias: Floats | None) -> ir.Model:
    """y = x W [+ b], with the nodes of an exporter."""
    constants = {"w": weight} if bias is None else {"w": weight, "b": bias}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y" if bias is None else "p"], name="product")]
    if bias is not None:
        nodes.append(helper.make_node("Add", ["p", "b"], ["y"]))
    d_in, d_out = weight.shape
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", 1, ["rows", d_in])],
        [helper.make_tensor_value_info("y", 1, ["rows", d_out])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    return ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    )


def session_of(model: ir.Model) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(
        ir.serde.serialize_model(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )


options_with_exact_kernels = st.sampled_from(
    [
        WeightOnlyOptions(bits, size)
        for bits, sizes in EXACT_BLOCK_SIZES.items()
        for size in sizes
        if size < 64 or bits == 8
    ]
)


@given(
    d_in=st.integers(1, 200), d_out=st.integers(1, 70), options=options_with_exact_kernels,
    with_bias=st.booleans(), seed=st.integers(0, 2**32 - 1), data=st.data(),
)  # fmt: skip
@settings(max_examples=30)
def test_rows_have_the_same_bits_however_many_are_multiplied(
    d_in: int, d_out: int, options: WeightOnlyOptions, with_bias: bool, seed: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(seed)
    weight = random.standard_normal((d_in, d_out), np.float32)
    bias = random.standard_normal(d_out, np.float32) if with_bias else None
    model = linear_graph(weight, bias)
    quantize_weights(model, options)
    session = session_of(model)
    x = random.standard_normal((16, d_in), np.float32)
    # As the runtime runs a single row where a processor's kernel computes it in another way (AVX2, 4 bits, blocks of 32).
    twice = [session.run(None, {"x": np.repeat(x[row : row + 1], 2, axis=0)})[0] for row in range(16)]
    single = np.concatenate([rows[:1] for rows in twice])
    symmetric = options.bits == 8
    stored = quantize(weight.T, options.bits, options.block_size, options.method, symmetric).matrix().T
    exact = x.astype(np.float64) @ stored + (0 if bias is None else bias)
    # The product rounds each x to a step of a 127th of the largest in its block.
    tolerance = np.abs(x).max(axis=1, keepdims=True) / (2 * 127) * np.abs(stored).sum(axis=0)
    assert np.all(np.abs(single - exact) <= 1.01 * tolerance + 1e-4)
    row = 0
    while row < 16:
        count = min(data.draw(st.integers(2, 16)), 16 - row)
        rows = x[row : row + count] if count > 1 else np.repeat(x[row : row + 1], 2, axis=0)
        assert np.array_equal(session.run(None, {"x": rows})[0][:count], single[row : row + count])
        row += count


@pytest.mark.parametrize("options", [INT4, INT8], ids=["int4", "int8"])
def test_cross_attention_keys_are_close_to_those_of_fp32(
    small: Small, tmp_path: Path, options: WeightOnlyOptions
) -> None:
    converted = quantized(small, tmp_path, options)
    expected, found = (
        Encoder(model.folder, model.manifest, TWO_THREADS).run(windows()).values
        for model in (small, converted)
    )
    for name in expected:
        x, y = expected[name].numpy(), found[name].numpy()
        assert np.linalg.norm(x - y) < (0.2 if options.bits == 4 else 0.03) * np.linalg.norm(x)


@pytest.mark.parametrize("options", [INT4, INT8, WeightOnlyOptions(4, 16, table_bits=4)], ids=str)
def test_the_table_is_stored_once_and_embeds_the_tokens_that_the_head_scores(
    small: Small, tmp_path: Path, options: WeightOnlyOptions
) -> None:
    converted = quantized(small, tmp_path, options)
    graph = converted.manifest.graphs["decoder"]
    embedding = TokenEmbedding(tmp_path, graph)
    rows = np.empty((SMALL.vocab_size, SMALL.d_model), np.float32)
    embedding.rows(range(SMALL.vocab_size), rows)
    decoder = load_model(tmp_path / graph.file)
    (head,) = (node for node in decoder.graph if node.outputs[0].name == "logits")
    assert head.op_type == "MatMulNBits"
    assert graph.embedding is not None
    assert graph.embedding_scales is not None
    offsets = [value.const_value.offset for value in head.inputs[1:3]]  # type: ignore[union-attr]
    assert offsets == [graph.embedding.offset, graph.embedding_scales.offset]
    table = values(load_model(small.folder / graph.file).graph.initializers["decoder.embed_tokens.weight"])
    error = np.linalg.norm(rows - table) / np.linalg.norm(table)
    assert error < (0.01 if options.table_bits == 8 else 0.1)
    stored = (tmp_path / "weights.bin").stat().st_size
    assert stored < 0.4 * (small.folder / "weights.bin").stat().st_size


def logits_in_steps(decoder: Decoder, tokens: list[int], size: int) -> Floats:
    """The logits of every token, `size` of them in a step."""
    decoder.rollback(0)
    steps = [tokens[start : start + size] for start in range(0, len(tokens), size)]
    return np.concatenate([decoder.run(step).copy() for step in steps])


def assert_steps_agree(model: Small, cross: CrossKV, count: int) -> None:
    """Steps of several tokens give the bits of single ones, and do not look at later tokens."""
    decoder = Decoder(model.folder, model.manifest, TWO_THREADS)
    decoder.repeat_single_rows = not single_rows_are_exact(
        decoder, model.manifest, TWO_THREADS, DeviceState(None)
    )
    decoder.reset(cross)
    random = np.random.default_rng(0)
    tokens = random.integers(0, decoder_vocabulary(model), count).tolist()
    single = logits_in_steps(decoder, tokens, 1)
    for size in (2, 3, 4, 5, 8, 16):
        assert np.array_equal(logits_in_steps(decoder, tokens, size), single), size
    decoder.rollback(count // 2)
    rejected = random.integers(0, decoder_vocabulary(model), 7).tolist()
    assert np.array_equal(decoder.run([tokens[count // 2], *rejected])[0], single[count // 2])


def decoder_vocabulary(model: Small) -> int:
    return model.manifest.dimensions.vocab_size


@pytest.mark.parametrize("options", [INT4, INT8, WeightOnlyOptions(8, 16)], ids=str)
def test_logits_do_not_depend_on_how_many_tokens_a_step_takes(
    small: Small, tmp_path: Path, options: WeightOnlyOptions
) -> None:
    converted = quantized(small, tmp_path, options)
    cross = Encoder(converted.folder, converted.manifest, TWO_THREADS).run(windows())
    assert_steps_agree(converted, cross, 60)


@pytest.mark.slow
@pytest.mark.parametrize("options", [INT4, INT8], ids=["int4", "int8"])
def test_logits_of_tinys_decoder_do_not_depend_on_how_many_tokens_a_step_takes(
    tmp_path: Path, options: WeightOnlyOptions
) -> None:
    manifest = export(random_checkpoint(TINY_DECODER), tmp_path / "fp32")
    converted = quantized(Small(tmp_path / "fp32", manifest), tmp_path / "quantized", options)
    cross = Encoder(converted.folder, converted.manifest, TWO_THREADS).run(windows(TINY_DECODER))
    assert_steps_agree(converted, cross, 432)


def test_results_keep_their_names(small: Small, tmp_path: Path) -> None:
    before = load_model(small.folder / "decoder.onnx")
    after = load_model(small.folder / "decoder.onnx")
    quantize_weights(after, INT4)
    names = {value.name for node in after.graph for value in node.outputs}
    products = [node for node in before.graph if node.op_type == "MatMul" and node.inputs[1].is_initializer()]  # type: ignore[union-attr]
    consumers = [product.outputs[0].consumers()[0] for product in products]
    results = [
        (adder if adder.op_type == "Add" else product).outputs[0].name
        for product, adder in zip(products, consumers, strict=True)
    ]
    assert len(results) == 6 * SMALL.decoder_layers
    assert names.issuperset(results)


def test_one_weight_of_several_products_is_quantized_once() -> None:
    model = linear_graph(np.eye(32, dtype=np.float32), None)
    (product,) = model.graph
    second = ir.node("MatMul", [product.outputs[0], product.inputs[1]], name="second")
    second.outputs[0].name = "z"
    model.graph.append(second)
    model.graph.outputs[0] = second.outputs[0]
    second.outputs[0].type, second.outputs[0].shape = product.outputs[0].type, product.outputs[0].shape
    quantize_weights(model, INT8)
    assert set(model.graph.initializers) == {"w.int8", "w.int8.scales"}
    x = np.random.default_rng(0).standard_normal((2, 32), np.float32)
    (y,) = session_of(model).run(None, {"x": x})
    assert np.allclose(y, x, atol=0.05)


def test_equal_graphs_give_equal_bytes(small: Small, tmp_path: Path) -> None:
    for name in ("a", "b"):
        quantized(small, tmp_path / name, INT4)
    for file in ("encoder.onnx", "decoder.onnx", "weights.bin"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_quantized_graph_is_refused(small: Small) -> None:
    model = load_model(small.folder / "decoder.onnx")
    quantize_weights(model, INT8)
    with pytest.raises(BuildError, match="already quantized"):
        quantize_weights(model, INT8)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (WeightOnlyOptions(4, 64), "block size 64: not with 4 bits; take 16 or 32"),
        (WeightOnlyOptions(8, 128), "block size 128: not with 8 bits; take 16 or 32 or 64"),
        (WeightOnlyOptions(5), "5 bits: weight-only quantization has 4 or 8"),
        (WeightOnlyOptions(8, 64, table_bits=4), "block size 64: not with 4 bits"),
    ],
)
def test_formats_without_exact_kernels_are_refused(
    small: Small, options: WeightOnlyOptions, words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        quantize_weights(load_model(small.folder / "decoder.onnx"), options)
