"""Fewer attention heads and feed-forward units: what goes, what stays, and that the graphs compute it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from numpy.typing import NDArray

from edgewhisper.bench.scoring import error_rate
from edgewhisper.errors import BuildError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.pipeline.calibration import CalibrationSet
from edgewhisper.pipeline.feeds import decoder_feeds, encoder_feeds
from edgewhisper.pipeline.parity import compute_expected, measure_parity, require_parity
from edgewhisper.pipeline.pruning import prune_checkpoint_structure
from edgewhisper.quant.pruning.feed_forward import UNIT_STEP, feed_forward_outputs, prune_feed_forward
from edgewhisper.quant.pruning.heads import attention_outputs, prune_heads
from edgewhisper.quant.pruning.importance import DAMPING, Moments, most_important, observe_moments
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import Encoder
from edgewhisper.runtime.session import SessionSettings
from edgewhisper.runtime.transcriber import Transcriber
from tests.conftest import BundledRecording
from tests.quant.pruning.pruned_artifacts import write_artifact
from tests.small_models import SMALL, export, random_checkpoint, transformers_model

ONE_THREAD = SessionSettings(threads=1)
# fp32 rounding through a handful of layers.
TOLERANCE = 1e-5
FOUR_HEADS = replace(SMALL, encoder_heads=4, decoder_heads=4)
OUTPUTS = attention_outputs(FOUR_HEADS) + feed_forward_outputs(FOUR_HEADS)


def features(seed: int, frames: int = 200) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((SMALL.n_mels, frames), dtype=np.float32)


def calibration() -> CalibrationSet:
    random = np.random.default_rng(7)
    sequences = [tuple(random.integers(0, SMALL.vocab_size, 50).tolist()) for _ in range(4)]
    return CalibrationSet(tuple(features(seed) for seed in range(4)), tuple(sequences), "")


@pytest.fixture(scope="module")
def whole() -> Checkpoint:
    """A model whose alignment heads are all of a layer's."""
    checkpoint = random_checkpoint(FOUR_HEADS, seed=5)
    heads = tuple((1, head) for head in range(4))
    return replace(checkpoint, token_ids=replace(checkpoint.token_ids, alignment_heads=heads))


@pytest.fixture(scope="module")
def moments(whole: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Moments]:
    folder = tmp_path_factory.mktemp("whole")
    manifest = export(whole, folder)
    found = observe_moments(folder / "encoder.onnx", OUTPUTS, encoder_feeds(calibration()))
    return found | observe_moments(
        folder / "decoder.onnx", OUTPUTS, decoder_feeds(folder, manifest, calibration())
    )


@pytest.fixture(scope="module")
def pruned(whole: Checkpoint, moments: Mapping[str, Moments]) -> Checkpoint:
    return prune_feed_forward(prune_heads(whole, moments, 0.4)[0], moments, 0.4)[0]


def relative_error(actual: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(actual - expected) / np.linalg.norm(expected))


def logits(
    checkpoint: Checkpoint, folder: Path, tokens: list[int], log_mel: NDArray[np.float32]
) -> NDArray[Any]:
    """Of the exported graphs, the tokens decoded in steps of several sizes."""
    manifest = export(checkpoint, folder)
    decoder = Decoder(folder, manifest, ONE_THREAD)
    decoder.reset(Encoder(folder, manifest, ONE_THREAD).run(log_mel))
    parts = np.split(np.array(tokens), [3, 4, 9])
    return np.concatenate([decoder.run(part.tolist()).copy() for part in parts])


def padded(checkpoint: Checkpoint) -> dict[str, NDArray[np.float32]]:
    """The same function with all heads and units: those that were removed are zero."""
    tensors = {}
    for name, shape in _whole_shapes().items():
        array = np.zeros(shape, np.float32)
        part = np.asarray(checkpoint.tensors[name], np.float32)
        array[tuple(slice(size) for size in part.shape)] = part
        tensors[name] = array
    return tensors


def _whole_shapes() -> dict[str, tuple[int, ...]]:
    from edgewhisper.models.checkpoint import expected_shapes

    return expected_shapes(FOUR_HEADS)


def test_pruned_graphs_compute_what_transformers_computes_with_zeros_in_the_gaps(
    pruned: Checkpoint, tmp_path: Path
) -> None:
    import torch

    tokens = np.random.default_rng(2).integers(0, SMALL.vocab_size, 20)
    with torch.inference_mode():
        expected = transformers_model(FOUR_HEADS, padded(pruned))(
            input_features=torch.from_numpy(features(9)[None]).double(),
            decoder_input_ids=torch.from_numpy(tokens[None]),
        ).logits[0]
    actual = logits(pruned, tmp_path, tokens.tolist(), features(9))
    assert relative_error(actual, expected.numpy()) < TOLERANCE


def test_layers_may_differ_in_heads_and_the_caches_follow(pruned: Checkpoint, tmp_path: Path) -> None:
    manifest = export(pruned, tmp_path)
    head_dim = FOUR_HEADS.d_model // FOUR_HEADS.decoder_heads
    shapes = {info.name: info.shape for info in manifest.graph("decoder").inputs}
    counts = set()
    for layer in range(FOUR_HEADS.decoder_layers):
        for kind, attention in (("self", "self_attn"), ("cross", "encoder_attn")):
            rows = pruned.tensors[f"decoder.layers.{layer}.{attention}.k_proj.weight"].shape[0]
            for kv in ("key", "value"):
                assert shapes[f"past_{kv}_{kind}_{layer}"][1] == rows // head_dim
                assert shapes[f"past_{kv}_{kind}_{layer}"][3] == head_dim
            counts.add(rows // head_dim)
    assert len(counts) > 1


def test_the_parity_check_knows_pruned_models(pruned: Checkpoint, tmp_path: Path) -> None:
    expected = compute_expected(pruned)
    report = measure_parity(tmp_path, export(pruned, tmp_path), expected)
    require_parity(report)
    assert report.graphs


def test_removing_nothing_changes_nothing(whole: Checkpoint, moments: Mapping[str, Moments]) -> None:
    for prune in (prune_heads, prune_feed_forward):
        same, report = prune(whole, moments, 0.0)
        assert report.before == report.after
        assert report.bytes_saved == 0
        assert all(np.array_equal(same.tensors[name], whole.tensors[name]) for name in whole.tensors)


def test_parts_that_contribute_nothing_go_first_and_nothing_is_lost(tmp_path: Path) -> None:
    """One head of each attention has no values, and a third of the units no outgoing weights."""
    checkpoint = random_checkpoint(FOUR_HEADS, seed=6)
    width = FOUR_HEADS.d_model // 4
    tensors = {name: np.array(array) for name, array in checkpoint.tensors.items()}
    for name, array in tensors.items():
        if ".v_proj." in name:
            array[width : 2 * width] = 0
        if name.endswith("fc2.weight"):
            array[:, : array.shape[1] // 3] = 0
    sparse = replace(checkpoint, tensors=tensors)
    manifest = export(sparse, tmp_path / "whole")
    found = observe_moments(tmp_path / "whole" / "encoder.onnx", OUTPUTS, encoder_feeds(calibration()))
    found |= observe_moments(
        tmp_path / "whole" / "decoder.onnx",
        OUTPUTS,
        decoder_feeds(tmp_path / "whole", manifest, calibration()),
    )
    smaller, of_heads = prune_heads(sparse, found, 0.25)
    smaller, of_units = prune_feed_forward(smaller, found, 1 / 3)
    assert set(of_heads.layers.values()) == {3}
    assert of_units.after * 3 == of_units.before * 2
    tokens = list(range(20))
    expected = logits(sparse, tmp_path / "a", tokens, features(9))
    assert relative_error(logits(smaller, tmp_path / "b", tokens, features(9)), expected) < TOLERANCE


def test_alignment_heads_are_renumbered(whole: Checkpoint, moments: Mapping[str, Moments]) -> None:
    smaller, report = prune_heads(whole, moments, 0.5)
    count = report.layers["decoder.layers.1.encoder_attn"]
    assert smaller.token_ids.alignment_heads == tuple((1, head) for head in range(count))


def test_the_report_counts_what_the_tensors_say(whole: Checkpoint, moments: Mapping[str, Moments]) -> None:
    def size(checkpoint: Checkpoint) -> int:
        return sum(array.size for array in checkpoint.tensors.values())

    smaller, report = prune_feed_forward(whole, moments, 0.3)
    assert report.bytes_saved == 4 * (size(whole) - size(smaller))
    assert report.after == sum(report.layers.values()) == sum(
        smaller.tensors[f"{layer}.fc1.weight"].shape[0] for layer in report.layers
    )  # fmt: skip
    assert all(count % UNIT_STEP == 0 for count in report.layers.values())
    assert abs(report.after / report.before - 0.7) < UNIT_STEP * len(report.layers) / report.before


@pytest.fixture(scope="module")
def samples() -> NDArray[np.float64]:
    """Inputs of a linear layer, correlated and not centred, [rows, 12]."""
    random = np.random.default_rng(3)
    return random.standard_normal((400, 12)) @ random.standard_normal((12, 12)) + random.standard_normal(12)


def moments_of(samples: NDArray[np.float64]) -> Moments:
    ones = np.concatenate([samples, np.ones((len(samples), 1))], axis=1)
    return Moments(ones.T @ ones / len(samples))


def test_importance_is_the_root_mean_square_of_the_contribution(samples: NDArray[np.float64]) -> None:
    weight = np.random.default_rng(4).standard_normal((5, 12))
    found = moments_of(samples)
    part = np.array([2, 3, 4])
    expected = np.sqrt((np.linalg.norm(samples[:, part] @ weight[:, part].T, axis=1) ** 2).mean())
    assert found.contribution(weight, part) == pytest.approx(expected)
    for unit in range(12):
        contribution = np.abs(samples[:, unit]) * np.linalg.norm(weight[:, unit])
        assert found.contributions(weight)[unit] == pytest.approx(np.sqrt((contribution**2).mean()))


def test_compensation_is_the_least_squares_solution(samples: NDArray[np.float64]) -> None:
    """The oracle solves for the samples themselves, with rows of their own for the damping."""
    random = np.random.default_rng(5)
    weight, bias, kept = random.standard_normal((5, 12)), random.standard_normal(5), np.array([0, 2, 3, 7, 8])
    found_weight, found_bias = moments_of(samples).compensate(weight, bias, kept)
    strength = np.sqrt(DAMPING * (samples**2).mean() * len(samples))
    rows = np.concatenate([samples[:, kept], np.ones((len(samples), 1))], axis=1)
    damping = np.concatenate([strength * np.eye(5), np.zeros((5, 1))], axis=1)
    targets = np.concatenate([samples @ weight.T + bias, strength * weight[:, kept].T])
    expected = np.linalg.lstsq(np.concatenate([rows, damping]), targets)[0].T
    np.testing.assert_allclose(found_weight, expected[:, :-1], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found_bias, expected[:, -1], rtol=1e-4, atol=1e-5)


def test_moments_are_those_of_the_values_that_the_layer_reads(whole: Checkpoint, tmp_path: Path) -> None:
    """`fc1` of the last layer reads a LayerNorm: mean 0 and variance 1 before its scale and shift."""
    layer = f"encoder.layers.{SMALL.encoder_layers - 1}"
    export(whole, tmp_path)
    found = observe_moments(tmp_path / "encoder.onnx", [f"{layer}.fc1"], encoder_feeds(calibration()))
    scale = np.asarray(whole.tensors[f"{layer}.final_layer_norm.weight"], np.float64)
    shift = np.asarray(whole.tensors[f"{layer}.final_layer_norm.bias"], np.float64)
    matrix = found[f"{layer}.fc1"].matrix
    mean = (matrix[-1, :-1] - shift) / scale
    power = (np.diag(matrix)[:-1] - 2 * shift * matrix[-1, :-1] + shift**2) / scale**2
    assert matrix[-1, -1] == pytest.approx(1)
    assert mean.sum() == pytest.approx(0, abs=1e-3)
    assert power.mean() == pytest.approx(1, abs=1e-3)


def test_without_calibration_data_pruning_is_refused(whole: Checkpoint, tmp_path: Path) -> None:
    export(whole, tmp_path)
    with pytest.raises(BuildError, match=r"encoder\.onnx: no calibration data"):
        observe_moments(tmp_path / "encoder.onnx", OUTPUTS, [])


scores = strategies.dictionaries(
    strategies.sampled_from("abcd"),
    strategies.lists(strategies.floats(0, 1), min_size=1, max_size=9).map(np.array),
    min_size=1,
)


@hypothesis.given(scores, strategies.floats(0, 0.99))
def test_every_layer_keeps_something_and_the_most_important_parts(
    scores: dict[str, NDArray[np.float64]], ratio: float
) -> None:
    kept = most_important(scores, ratio)
    for layer, values in scores.items():
        assert 1 <= len(kept[layer]) <= len(values)
        assert list(kept[layer]) == sorted(set(kept[layer].tolist()))
        gone = np.delete(values, kept[layer])
        assert not len(gone) or values[kept[layer]].min() >= gone.max()


def test_a_layer_of_odd_size_loses_nothing_to_rounding() -> None:
    kept = most_important({"a": np.arange(1.0, 11), "b": np.arange(1.0, 40)}, 0.0, step=8)
    assert [len(parts) for parts in kept.values()] == [10, 39]
    kept = most_important({"a": np.arange(1.0, 11), "b": np.full(40, 99.0)}, 0.1, step=8)
    assert [len(parts) for parts in kept.values()] == [8, 40]


def test_parts_of_equal_importance_are_removed_too() -> None:
    kept = most_important({"a": np.array([0.0] * 6 + [1.0] * 4), "b": np.full(10, 2.0)}, 0.25)
    assert [len(parts) for parts in kept.values()] == [5, 10]


def test_a_ratio_is_of_all_parts_whichever_layer_they_are_in() -> None:
    scores = {"a": np.array([0.1, 0.2, 0.9, 0.8]), "b": np.array([0.7, 0.6, 0.5, 0.3])}
    kept = most_important(scores, 0.25)
    assert {layer: parts.tolist() for layer, parts in kept.items()} == {"a": [2, 3], "b": [0, 1, 2, 3]}


@pytest.mark.slow
def test_the_bundled_model_still_hears_with_fewer_units(
    recordings: list[BundledRecording], tmp_path: Path
) -> None:
    (tmp_path / "scratch").mkdir()
    smaller, report = prune_checkpoint_structure(
        read_checkpoint("demo"), 0.0, 0.1, None, tmp_path / "scratch"
    )
    assert report.heads is None
    assert report.feed_forward is not None
    assert report.feed_forward.after < 0.93 * report.feed_forward.before
    transcriber = Transcriber(write_artifact(smaller, tmp_path / "smaller"))
    spoken = [recording for recording in recordings if recording.group == "seen"]
    texts = ["".join(s.text for s in transcriber.transcribe(recording.path)[0]) for recording in spoken]
    assert error_rate([recording.text for recording in spoken], texts).wer < 0.1
