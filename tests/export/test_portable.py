"""Portable graphs: plain ONNX operators that give what the fused ones give."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from numpy.typing import NDArray

from edgewhisper.artifact import ModelDimensions
from edgewhisper.errors import BuildError
from edgewhisper.export.portable import lower
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording
from tests.portable_artifacts import with_portable_graphs
from tests.small_models import SMALL, export, random_checkpoint

# Products are summed in another order; the reference tests allow the fused graphs as much against float64.
TOLERANCE = 1e-5
ONE_THREAD = SessionSettings(threads=1)
Runtime = tuple[Encoder, Decoder]


@pytest.fixture(scope="module", params=[SMALL, replace(SMALL, decoder_heads=4, encoder_heads=3)])
def checkpoint(request: pytest.FixtureRequest) -> Checkpoint:
    dimensions: ModelDimensions = request.param
    return random_checkpoint(dimensions, seed=5)


@pytest.fixture(scope="module")
def folder(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("portable")
    export(checkpoint, folder, "portable")
    return folder


@pytest.fixture(scope="module")
def portable(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = tmp_path_factory.mktemp("portable")
    manifest = export(checkpoint, folder, "portable")
    return Encoder(folder, manifest, ONE_THREAD), Decoder(folder, manifest, ONE_THREAD)


@pytest.fixture(scope="module")
def fused(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = tmp_path_factory.mktemp("fused")
    manifest = export(checkpoint, folder, "fused")
    return Encoder(folder, manifest, ONE_THREAD), Decoder(folder, manifest, ONE_THREAD)


def random_features(frames: int) -> NDArray[np.float32]:
    return np.random.default_rng(frames).standard_normal((SMALL.n_mels, frames), dtype=np.float32)


def random_tokens(count: int) -> list[int]:
    return [int(token) for token in np.random.default_rng(count).integers(0, SMALL.vocab_size, count)]


def logits(decoder: Decoder, tokens: Sequence[int], counts: Sequence[int]) -> NDArray[np.float32]:
    """Of `tokens` after an empty cache, in steps of `counts` tokens."""
    decoder.rollback(0)
    ends = np.cumsum(counts)
    return np.concatenate(
        [decoder.run(tokens[end - count : end]).copy() for end, count in zip(ends, counts, strict=True)]
    )


def relative_error(actual: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_portable_graphs_hold_operators_of_the_standard_alone(folder: Path, kind: str) -> None:
    model = onnx.load(folder / f"{kind}.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    assert [entry.domain for entry in model.opset_import] == [""]
    onnx.checker.check_model(model, full_check=True)


def test_portable_graphs_have_the_inputs_and_outputs_of_the_fused_ones(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    portable, fused = (export(checkpoint, tmp_path / ops, ops).graphs for ops in ("portable", "fused"))
    for name, graph in fused.items():
        assert portable[name] == replace(graph, ops="portable", min_onnxruntime="1.23.0")


@pytest.mark.parametrize("frames", [200, 98, 4])
def test_encoders_agree(fused: Runtime, portable: Runtime, frames: int) -> None:
    expected, actual = (runtime[0].run(random_features(frames)).values for runtime in (fused, portable))
    for name, value in expected.items():
        assert relative_error(actual[name].numpy(), value.numpy()) < TOLERANCE


@pytest.mark.parametrize("counts", [[1] * 20, [4, 1, 1, 2, 3, 8, 1], [20], [2, 16, 1], [1, 63]])
def test_logits_agree_however_the_tokens_are_split(
    fused: Runtime, portable: Runtime, counts: list[int]
) -> None:
    tokens = random_tokens(sum(counts))
    results = []
    for encoder, decoder in (fused, portable):
        decoder.reset(encoder.run(random_features(200)))
        results.append(logits(decoder, tokens, counts))
    assert relative_error(results[1], results[0]) < TOLERANCE
    assert np.array_equal(results[1].argmax(-1), results[0].argmax(-1))


def test_logits_do_not_depend_on_how_many_tokens_a_step_takes(portable: Runtime) -> None:
    encoder, decoder = portable
    decoder.reset(encoder.run(random_features(200)))
    tokens = random_tokens(SMALL.max_target_positions)
    single = logits(decoder, tokens, [1] * len(tokens))
    for count in (2, 4, 8, 16, 64):
        assert np.array_equal(logits(decoder, tokens, [count] * (len(tokens) // count)), single), count


def test_logits_do_not_depend_on_rejected_tokens(portable: Runtime) -> None:
    """Whichever of the two buffers holds the rejected rows."""
    encoder, decoder = portable
    decoder.reset(encoder.run(random_features(200)))
    tokens = random_tokens(24)
    expected = logits(decoder, tokens, [1] * len(tokens))
    for kept, rejected in ((3, 5), (4, 1), (7, 16)):
        decoder.rollback(0)
        decoder.run(tokens[:kept])
        decoder.run([7] * rejected)
        decoder.rollback(kept)
        assert np.array_equal(decoder.run(tokens[kept:]), expected[kept:])


def test_an_operator_without_a_plain_form_is_refused_by_name(tmp_path: Path) -> None:
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1, 4]))
    node = ir.node("QuickGelu", [x], domain="com.microsoft", name="activation")
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 20, "com.microsoft": 1})
    with pytest.raises(BuildError, match=r"node 'activation': QuickGelu has no plain ONNX form") as caught:
        lower(ir.Model(graph, ir_version=10))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_bundled_recordings_give_the_same_tokens(
    recordings: Sequence[BundledRecording], tmp_path: Path, demo_artifact: Path
) -> None:
    results = []
    for folder in (demo_artifact, with_portable_graphs(demo_artifact, tmp_path / "portable")):
        transcriber = Transcriber(folder, threads=2)
        segments = (
            segment for recording in recordings for segment in transcriber.transcribe(recording.path)[0]
        )
        results.append([segment.tokens for segment in segments])
    expected, actual = results
    assert any(expected)
    assert actual == expected
