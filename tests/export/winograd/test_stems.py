"""Stems with trained weights over real speech, in half precision, and as other exporters write them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from edgewhisper.export.winograd import rewrite
from edgewhisper.export.winograd.choice import Choice
from edgewhisper.runtime.processor import host_target
from tests.conftest import BundledRecording
from tests.export.winograd.graphs import Array, exported_model, op_types, run, stem_model

TARGET = host_target()
Filter = tuple[Array, Array]


@pytest.fixture(scope="module")
def trained(demo_checkpoint: Path) -> tuple[Filter, Filter]:
    """Weights and biases of the bundled model's two convolutions."""
    from safetensors.numpy import load_file

    tensors = load_file(demo_checkpoint / "model.safetensors")
    names = [f"model.encoder.conv{index}" for index in (1, 2)]
    first, second = (
        (tensors[f"{n}.weight"].astype(np.float32), tensors[f"{n}.bias"].astype(np.float32)) for n in names
    )
    return first, second


@pytest.fixture(scope="module")
def features(recordings: Sequence[BundledRecording], trained: tuple[Filter, Filter]) -> Array:
    """Log-mel windows [5, n_mels, 3000] of bundled recordings, by transformers."""
    import soundfile
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=trained[0][0].shape[1])
    audio = [soundfile.read(recording.path, dtype="float32") for recording in recordings]
    samples = [samples for samples, rate in audio if rate == extractor.sampling_rate][:5]
    assert len(samples) == 5
    found = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="np")
    return np.asarray(found["input_features"], np.float32)


def _exact(x: Array, first: Filter, second: Filter) -> Array:
    y = torch.from_numpy(x).double()
    for (w, b), stride in ((first, 1), (second, 2)):
        weight, bias = torch.from_numpy(w).double(), torch.from_numpy(b).double()
        y = functional.gelu(functional.conv1d(y, weight, bias, stride=stride, padding=1))
    return np.asarray(y.transpose(1, 2))


def _relative(y: Array, exact: Array) -> float:
    assert y.shape == exact.shape
    return float(np.linalg.norm(y.astype(np.float64) - exact) / np.linalg.norm(exact))


@pytest.mark.parametrize("method", ["F2", "F4"])
def test_a_trained_stem_loses_at_most_a_millionth_on_speech(
    method: Choice, trained: tuple[Filter, Filter], features: Array
) -> None:
    model = stem_model(*trained)
    rewrite(model, method, TARGET)
    assert _relative(run(model, {"x": features}), _exact(features, *trained)) <= 1e-6


@pytest.mark.parametrize("method", ["slices", "F2", "F4", "F6"])
def test_a_stem_in_half_precision_stays_near_float64(
    method: Choice, trained: tuple[Filter, Filter], features: Array
) -> None:
    first, second = ((w.astype(np.float16), b.astype(np.float16)) for w, b in trained)
    model = stem_model(first, second)
    rewrite(model, method, TARGET, "fp16")
    x = features[:1].astype(np.float16)
    y = run(model, {"x": x})
    assert y.dtype == np.float16
    # fp16 keeps 11 bits, 4.9e-4; the transforms of F(6,3) and F(6,2) multiply that several times.
    assert _relative(y, _exact(x, first, second)) < 1e-2


@pytest.mark.parametrize("method", ["slices", "F2", "F4", "F6"])
def test_a_stem_as_pytorch_exports_it_is_rewritten(
    method: Choice, trained: tuple[Filter, Filter], features: Array
) -> None:
    width = trained[1][0].shape[0]
    positions = np.random.default_rng(0).normal(size=(1500, width)).astype(np.float32)
    model = exported_model(*trained, positions)
    infos = rewrite(model, method, TARGET)
    assert [info.node.split("/")[-1] for info in infos] == ["encoder.Conv_0", "encoder.Conv_6"]
    assert "Conv" not in op_types(model)
    assert _relative(run(model, {"x": features[:2]}), _exact(features[:2], *trained) + positions) < 1e-6
