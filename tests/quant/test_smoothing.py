"""Smoothing changes how a graph computes, not what."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgewhisper.artifact import Manifest
from edgewhisper.export.model_file import load_model, save_model
from edgewhisper.export.weights import WeightsWriter
from edgewhisper.quant.calibration import Statistics, observe
from edgewhisper.quant.linear import linear_layers
from edgewhisper.quant.smoothing import smooth, smoothing_factors
from edgewhisper.quant.static import inputs_to_observe
from tests.small_models import SMALL, export, random_checkpoint
from tests.static_models import decoder_feeds


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Manifest]:
    folder = tmp_path_factory.mktemp("source")
    return folder, export(random_checkpoint(), folder)


@pytest.fixture(scope="module")
def observed(source: tuple[Path, Manifest]) -> dict[str, Statistics]:
    names = inputs_to_observe(load_model(source[0] / "decoder.onnx"))
    return observe(source[0] / "decoder.onnx", names, decoder_feeds(*source))


@pytest.mark.parametrize("strength", [0.3, 0.5, 1.0])
def test_a_smoothed_graph_computes_the_same(
    source: tuple[Path, Manifest], observed: dict[str, Statistics], strength: float, tmp_path: Path
) -> None:
    model = load_model(source[0] / "decoder.onnx")
    smooth(model, observed, strength)
    with WeightsWriter(tmp_path / "weights.bin") as weights:
        save_model(model, tmp_path / "decoder.onnx", weights)
    feed = next(decoder_feeds(*source))
    expected, found = (
        onnxruntime.InferenceSession(folder / "decoder.onnx").run(["logits"], feed)[0]
        for folder in (source[0], tmp_path)
    )
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_the_statistics_follow_the_graph(
    source: tuple[Path, Manifest], observed: dict[str, Statistics], tmp_path: Path
) -> None:
    model = load_model(source[0] / "decoder.onnx")
    predicted = smooth(model, observed).statistics
    assert set(predicted) == set(inputs_to_observe(model))
    with WeightsWriter(tmp_path / "weights.bin") as weights:
        save_model(model, tmp_path / "decoder.onnx", weights)
    found = observe(tmp_path / "decoder.onnx", list(predicted), decoder_feeds(*source))
    for name, statistics in found.items():
        np.testing.assert_allclose(
            statistics.largest, predicted[name].largest, rtol=1e-2, atol=1e-3 * statistics.largest.max()
        )


def test_every_input_that_a_normalization_or_attention_computes_is_smoothed(
    source: tuple[Path, Manifest], observed: dict[str, Statistics]
) -> None:
    model = load_model(source[0] / "decoder.onnx")
    smooth(model, observed)
    smoothed = [(layer.input.name or "").endswith(".smoothed") for layer in linear_layers(model)]
    # qkv, self-attention's output, the query and the first feed-forward layer; not cross-attention's output,
    # which the encoder computes, nor the second feed-forward layer after Gelu, nor the head.
    block = [True, True, True, False, True, False]
    assert smoothed == block * SMALL.decoder_layers + [False]


def test_full_strength_makes_all_channels_alike() -> None:
    random = np.random.default_rng(0)
    x, rows = random.uniform(0.1, 50, 30).astype(np.float32), random.uniform(0.1, 2, 30).astype(np.float32)
    np.testing.assert_allclose(x / smoothing_factors(x, rows, 1.0), 1, rtol=1e-5)
    np.testing.assert_allclose(rows * smoothing_factors(x, rows, 0.0), 1, rtol=1e-5)
    factors = smoothing_factors(x, rows, 0.5)
    np.testing.assert_allclose(x / factors, rows * factors, rtol=1e-5)


def test_channels_that_are_never_used_keep_their_scale() -> None:
    zero, one = np.zeros(1, np.float32), np.ones(1, np.float32)
    assert smoothing_factors(zero, one) == smoothing_factors(one, zero) == 1
