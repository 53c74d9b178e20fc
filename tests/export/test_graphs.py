"""The exported graphs against transformers in float64."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from edgewhisper.artifact import ModelDimensions
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.session import SessionSettings
from tests.small_models import SMALL, export, random_checkpoint, transformers_model

# fp32 rounding through a handful of layers; the product's bound is 1e-4.
TOLERANCE = 1e-5
ONE_THREAD = SessionSettings(threads=1)
SHAPES = {
    "small": SMALL,
    "128 mel bins, head width 64": replace(SMALL, n_mels=128, d_model=128),
    "more decoder than encoder": replace(
        SMALL, encoder_layers=1, decoder_layers=4, decoder_heads=4, decoder_ffn=200
    ),
}


def relative_error(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def log_mel(dimensions: ModelDimensions, frames: int, batch: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(frames).standard_normal((batch, dimensions.n_mels, frames), dtype=np.float32)


def encoder_states(model: Any, features: NDArray[np.float32]) -> Any:
    """transformers insists on a whole window; its layers do not."""
    encoder = model.model.encoder
    x = torch.nn.functional.gelu(encoder.conv1(torch.from_numpy(features).double()))
    x = torch.nn.functional.gelu(encoder.conv2(x)).transpose(1, 2)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    for layer in encoder.layers:
        x = layer(x, None, None)[0]
    return encoder.layer_norm(x)


@pytest.fixture(scope="module", params=list(SHAPES.values()), ids=list(SHAPES))
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    return random_checkpoint(request.param, seed=3)


@pytest.fixture(scope="module")
def model(checkpoint: Checkpoint) -> Any:
    with torch.inference_mode():
        return transformers_model(checkpoint.dimensions, checkpoint.tensors)


@pytest.fixture(scope="module")
def runtime(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Decoder]:
    folder = tmp_path_factory.mktemp("graphs")
    manifest = export(checkpoint, folder)
    return Encoder(folder, manifest, ONE_THREAD), Decoder(folder, manifest, ONE_THREAD)


@pytest.mark.parametrize("frames", [200, 198, 100, 8, 4])
@pytest.mark.parametrize("batch", [1, 3])
def test_encoder_gives_the_keys_and_values_of_every_decoder_layer(
    checkpoint: Checkpoint, model: Any, runtime: tuple[Encoder, Decoder], frames: int, batch: int
) -> None:
    features = log_mel(checkpoint.dimensions, frames, batch)
    cross = runtime[0].run(features)
    with torch.inference_mode():
        states = encoder_states(model, features)
        for index, layer in enumerate(model.model.decoder.layers):
            attention = layer.encoder_attn
            for name, projection in (("key", attention.k_proj), ("value", attention.v_proj)):
                expected = projection(states).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2).numpy()
                actual = cross.values[f"past_{name}_cross_{index}"].numpy()
                assert actual.shape == expected.shape
                assert relative_error(actual, expected) < TOLERANCE


@pytest.mark.parametrize("counts", [[1] * 20, [4, 1, 1, 2, 3, 8, 1], [20], [2, 16, 1], [1, 63]])
def test_decoder_logits_agree_with_transformers_however_the_tokens_are_split(
    checkpoint: Checkpoint, model: Any, runtime: tuple[Encoder, Decoder], counts: list[int]
) -> None:
    encoder, decoder = runtime
    features = log_mel(checkpoint.dimensions, 200)
    tokens = np.random.default_rng(1).integers(0, checkpoint.dimensions.vocab_size, sum(counts))
    with torch.inference_mode():
        expected = model(
            input_features=torch.from_numpy(features).double(),
            decoder_input_ids=torch.from_numpy(tokens[None]),
        ).logits[0]
    decoder.reset(encoder.run(features[0]))
    rows = []
    for end, count in zip(np.cumsum(counts), counts, strict=True):
        rows.append(decoder.run(tokens[end - count : end].tolist()).copy())
    actual = np.concatenate(rows)
    assert relative_error(actual, expected.numpy()) < TOLERANCE
    assert (actual.argmax(-1) == expected.numpy().argmax(-1)).all()


def test_logits_from_gives_only_the_rows_asked_for(
    checkpoint: Checkpoint, runtime: tuple[Encoder, Decoder]
) -> None:
    encoder, decoder = runtime
    decoder.reset(encoder.run(log_mel(checkpoint.dimensions, 200)[0]))
    tokens = list(range(7))
    every = decoder.run(tokens).copy()
    decoder.rollback(0)
    last = decoder.run(tokens, logits_from=5)
    assert last.shape == (2, checkpoint.dimensions.vocab_size)
    assert np.array_equal(last, every[5:])


def test_a_batch_decodes_each_sequence_as_if_alone(
    checkpoint: Checkpoint, model: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("batch")
    manifest = export(checkpoint, folder)
    features = log_mel(checkpoint.dimensions, 200, batch=3)
    tokens = np.random.default_rng(2).integers(0, checkpoint.dimensions.vocab_size, (3, 9))
    with torch.inference_mode():
        expected = model(
            input_features=torch.from_numpy(features).double(), decoder_input_ids=torch.from_numpy(tokens)
        ).logits
    cross = Encoder(folder, manifest, ONE_THREAD).run(features)
    actual = batched_logits(folder, cross, tokens, checkpoint)
    assert relative_error(actual, expected.numpy()) < TOLERANCE


def batched_logits(
    folder: Path, cross: CrossKV, tokens: NDArray[np.int64], checkpoint: Checkpoint
) -> NDArray[np.float32]:
    """A prompt of four tokens, then single steps, through the graph itself."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "decoder.onnx", providers=["CPUExecutionProvider"])
    batch, length = tokens.shape
    dims, table = checkpoint.dimensions, np.asarray(checkpoint.tensors["decoder.embed_tokens.weight"])
    cache_shape = (
        batch,
        dims.decoder_heads,
        dims.max_target_positions + 1,
        dims.d_model // dims.decoder_heads,
    )
    layers = range(dims.decoder_layers)
    past = {
        f"past_{kv}_self_{i}": np.zeros(cache_shape, np.float32) for i in layers for kv in ("key", "value")
    }
    fixed = {name: value.numpy() for name, value in cross.values.items()}
    logits = []
    for start, end in [(0, 4), *((i, i + 1) for i in range(4, length))]:
        feeds = {
            "inputs_embeds": table[tokens[:, start:end]],
            "position_ids": np.tile(np.arange(start, end), (batch, 1)),
            "seqlens_k": np.full(batch, end - 1, np.int32),
            "total_sequence_length": np.array(end, np.int32),
            "logits_from": np.array(0, np.int64),
        }
        results = session.run(None, feeds | past | fixed)
        names = [output.name for output in session.get_outputs()]
        logits.append(results[0])
        past = {
            name.replace("present", "past"): value
            for name, value in zip(names, results, strict=True)
            if "self" in name
        }
    return np.concatenate(logits, axis=1)


def test_graphs_are_valid_and_keep_every_large_tensor_outside(checkpoint: Checkpoint, tmp_path: Path) -> None:
    export(checkpoint, tmp_path)
    for kind in ("encoder", "decoder"):
        path = tmp_path / f"{kind}.onnx"
        graph = onnx.load(path, load_external_data=False)
        assert graph.ir_version <= 10
        assert {entry.domain: entry.version for entry in graph.opset_import}[""] <= 21
        inline = [
            tensor.name
            for tensor in graph.graph.initializer
            if not tensor.external_data and len(tensor.raw_data) > 64
        ]
        assert inline == []
        onnx.checker.check_model(path)


def test_the_weights_file_holds_every_tensor_once(checkpoint: Checkpoint, tmp_path: Path) -> None:
    export(checkpoint, tmp_path)
    values = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    graph_tensors = sum(
        len(onnx.load(tmp_path / f"{kind}.onnx", load_external_data=False).graph.initializer)
        for kind in ("encoder", "decoder")
    )
    pages = 4096 * graph_tensors  # each tensor starts on a page of its own
    assert (tmp_path / "weights.bin").stat().st_size < values + pages


def test_half_precision_checkpoints_give_the_graphs_of_their_widened_weights(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    half = {name: array.astype(np.float16) for name, array in checkpoint.tensors.items()}
    widened = {name: array.astype(np.float32) for name, array in half.items()}
    export(replace(checkpoint, tensors=half), tmp_path / "half")
    export(replace(checkpoint, tensors=widened), tmp_path / "widened")
    for name in ("encoder.onnx", "decoder.onnx", "weights.bin"):
        assert (tmp_path / "half" / name).read_bytes() == (tmp_path / "widened" / name).read_bytes()
