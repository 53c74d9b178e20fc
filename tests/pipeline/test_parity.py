"""The parity check: sound graphs pass it by far, a change of any tensor fails it, and its reference is transformers'."""

import dataclasses
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest, load_manifest
from edgewhisper.errors import BuildError
from edgewhisper.models.checkpoint import Checkpoint, expected_shapes
from edgewhisper.models.random_weights import write_random_checkpoint
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.measurements import read_measurements
from edgewhisper.pipeline.parity import (
    TOLERANCE,
    Comparison,
    Expected,
    ParityReport,
    compute_expected,
    decoder_calls,
    measure_parity,
    relative_error,
    require_parity,
)
from edgewhisper.pipeline.reference import Reference


@pytest.fixture(scope="module")
def checkpoint(small_checkpoint: Path) -> Checkpoint:
    return read_checkpoint(small_checkpoint)


@pytest.fixture(scope="module")
def manifest(small_artifact: Path) -> Manifest:
    return load_manifest(small_artifact)


@pytest.fixture(scope="module")
def expected(checkpoint: Checkpoint) -> Expected:
    return compute_expected(checkpoint)


# The check as a whole


def test_sound_graphs_are_far_within_the_tolerance(
    small_artifact: Path, manifest: Manifest, expected: Expected
) -> None:
    report = measure_parity(small_artifact, manifest, expected)
    require_parity(report)
    assert set(report.graphs) == {"encoder.onnx", "decoder.onnx"}
    assert set(report.graphs["encoder.onnx"]) == {"keys", "values"}
    assert set(report.graphs["decoder.onnx"]) == {"prefill", "step", "several tokens"}
    for comparisons in report.graphs.values():
        for comparison in comparisons.values():
            assert comparison.relative_error < TOLERANCE / 10
            assert comparison.argmax_differences == 0
    assert sum(comparison.rows for comparison in report.graphs["decoder.onnx"].values()) == sum(
        len(call.rows) for call in expected.calls
    )


def test_the_bundled_model_computes_what_pytorch_computes(tmp_path: Path) -> None:
    assert_parity(build("demo", tmp_path / "demo", parity=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny.en", "base.en"])
def test_models_of_whispers_sizes_compute_what_pytorch_computes(name: str, tmp_path: Path) -> None:
    write_random_checkpoint(name, tmp_path / "checkpoint")
    assert_parity(build(tmp_path / "checkpoint", tmp_path / "artifact", parity=True))
    shutil.rmtree(tmp_path)  # hundreds of megabytes, which pytest would keep


def assert_parity(artifact: Path) -> None:
    """Check the report of a build: steps and 2 to 16 tokens at once were compared, all within the tolerance."""
    measurements = read_measurements(artifact)
    assert measurements is not None
    assert measurements.parity is not None
    comparisons = [found for kinds in measurements.parity.graphs.values() for found in kinds.values()]
    assert len(comparisons) == 5
    assert max(found.relative_error for found in comparisons) <= TOLERANCE
    assert sum(found.argmax_differences for found in comparisons) == 0
    assert sum(found.rows for found in comparisons) >= 64


@pytest.mark.slow
def test_the_check_finds_a_small_change_of_any_tensor_outside_the_first_layers(
    checkpoint: Checkpoint, small_artifact: Path, manifest: Manifest
) -> None:
    missed = []
    for name in (name for name in expected_shapes(checkpoint.dimensions) if ".layers.0." not in name):
        changed = dict(checkpoint.tensors)
        # Random biases are small beside what they are added to.
        changed[name] = changed[name].astype(np.float32) * np.float32(1.25 if name.endswith("bias") else 1.05)
        report = measure_parity(
            small_artifact, manifest, compute_expected(dataclasses.replace(checkpoint, tensors=changed))
        )
        graph = "encoder.onnx" if name.startswith("encoder") or _is_cross_projection(name) else "decoder.onnx"
        if max(comparison.relative_error for comparison in report.graphs[graph].values()) <= TOLERANCE:
            missed.append(name)
        else:
            with pytest.raises(BuildError, match=r"coder\.onnx: relative error of"):
                require_parity(report)
    assert not missed


def _is_cross_projection(name: str) -> bool:
    """Whether the encoder's graph computes with this tensor of the decoder."""
    return "encoder_attn.k_proj" in name or "encoder_attn.v_proj" in name


@pytest.mark.parametrize(
    ("comparison", "message"),
    [
        (
            Comparison(2e-4),
            r"decoder\.onnx: relative error of step against PyTorch is 2\.0e-04, more than 1e-04",
        ),
        (Comparison(float("inf")), r"is inf, more than 1e-04"),
        (Comparison(float("nan")), r"is nan, more than 1e-04"),
        (Comparison(1e-7, 1, 40), r"decoder\.onnx: PyTorch chooses another token in 1 of 40 rows \(step\)"),
    ],
)
def test_a_refusal_names_the_graph_and_the_figure(comparison: Comparison, message: str) -> None:
    graphs = {"encoder.onnx": {"keys": Comparison(1e-7)}, "decoder.onnx": {"step": comparison}}
    with pytest.raises(BuildError, match=message):
        require_parity(ParityReport({}, TOLERANCE, graphs))


def test_an_error_at_the_tolerance_is_accepted() -> None:
    require_parity(ParityReport({}, TOLERANCE, {"encoder.onnx": {"keys": Comparison(TOLERANCE)}}))


# Its parts


@given(st.integers(1, 600))
def test_the_decoder_calls_fit_any_cache(max_length: int) -> None:
    length = 0
    for call in decoder_calls(max_length):
        assert 0 <= call.start <= length, "what is not in the cache cannot be rolled back to"
        assert call.count >= 1
        assert call.rows
        length = call.start + call.count
        assert length <= max_length


@pytest.mark.parametrize("max_length", [64, 128, 448])
def test_the_decoder_calls_cover_all_numbers_of_tokens_and_the_last_position(max_length: int) -> None:
    calls = decoder_calls(max_length)
    assert {call.kind for call in calls} == {"prefill", "step", "several tokens"}
    assert {*range(1, 9), 16} <= {call.count for call in calls if call.start > 0}
    assert max(call.start + call.count for call in calls) == max_length
    for count in (1, 3, 8, 16):
        assert len({call.start for call in calls if call.count == count}) >= 2
    assert any(after.start < before.start + before.count for before, after in pairwise(calls))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20), st.floats(1e-6, 0.5))
def test_the_relative_error_of_a_scaled_array_is_the_scale(values: list[float], scale: float) -> None:
    expected = np.array([1.0, *values])
    assert relative_error(expected * (1 + scale), expected) == pytest.approx(scale, rel=1e-6)
    assert relative_error(expected, expected) == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_relative_error_of_what_is_no_number_is_infinite(value: float) -> None:
    result: NDArray[np.float32] = np.array([1.0, value], np.float32)
    assert relative_error(result, np.ones(2, np.float32)) == np.inf


# The reference


@pytest.fixture(scope="module")
def model(small_checkpoint: Path) -> Any:
    """The same folder, read by transformers itself."""
    from transformers import WhisperForConditionalGeneration

    return WhisperForConditionalGeneration.from_pretrained(small_checkpoint).eval()


def test_the_reference_is_the_model_that_transformers_reads(
    model: Any, checkpoint: Checkpoint, expected: Expected
) -> None:
    import torch

    with torch.inference_mode():
        output = model(
            input_features=torch.from_numpy(expected.log_mel)[None],
            decoder_input_ids=torch.tensor([list(expected.tokens)]),
            use_cache=True,
        )
    logits = output.logits[0].numpy()
    for row, ours in expected.logits.items():
        assert relative_error(ours, logits[row]) < 1e-6
    for index in range(checkpoint.dimensions.decoder_layers):
        keys, values = output.past_key_values.cross_attention_cache[index]
        assert relative_error(expected.cross_kv[f"past_key_cross_{index}"], keys[0].numpy()) < 1e-6
        assert relative_error(expected.cross_kv[f"past_value_cross_{index}"], values[0].numpy()) < 1e-6


def test_the_reference_computes_half_precision_checkpoints_in_single_precision(
    checkpoint: Checkpoint, expected: Expected
) -> None:
    half = {name: array.astype(np.float16) for name, array in checkpoint.tensors.items()}
    single = {name: array.astype(np.float32) for name, array in half.items()}
    rows = sorted(expected.logits)

    def logits(tensors: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        reference = Reference(dataclasses.replace(checkpoint, tensors=tensors))
        _, states = reference.cross_kv(expected.log_mel)
        return reference.logits(expected.tokens, states, rows)

    assert logits(half).dtype == np.float32
    np.testing.assert_array_equal(logits(half), logits(single))
