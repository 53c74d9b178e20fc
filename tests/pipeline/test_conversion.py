"""Builds in other precisions than fp32: what they write, what the gate says, and what it refuses."""

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgewhisper.artifact import MEASURED, load_manifest
from edgewhisper.errors import BuildError, UsageError
from edgewhisper.export.attention import PIECES
from edgewhisper.export.model_file import load_model
from edgewhisper.export.winograd.choice import Measured, Table, TargetTable
from edgewhisper.pipeline import gate as gate_module
from edgewhisper.pipeline.build import build, quantize
from edgewhisper.pipeline.gate import GateReport
from edgewhisper.pipeline.inspect import inspect
from edgewhisper.pipeline.inspection_text import format_inspection
from edgewhisper.pipeline.measurements import read_measurements
from edgewhisper.pipeline.options import BuildOptions, Precision
from edgewhisper.pipeline.steps import BuildStep
from edgewhisper.pipeline.taps import layer_taps
from edgewhisper.runtime.memory_budget import transcription_memory
from edgewhisper.runtime.processor import Target, host_target
from edgewhisper.runtime.transcriber import DecodingOptions, Transcriber
from tests.pipeline.observing import snapshot
from tests.small_models import SMALL

INT8 = BuildOptions(precision="int8", winograd="off")


@pytest.fixture(scope="module")
def int8_artifact(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An INT8 artifact of the small model."""
    return build(small_checkpoint, tmp_path_factory.mktemp("artifacts") / "int8", INT8, parity=False)


@pytest.fixture(scope="module")
def fp32_artifact(small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model in fp32, its convolutions as they are."""
    folder = tmp_path_factory.mktemp("artifacts") / "fp32"
    return build(small_checkpoint, folder, BuildOptions(winograd="off"), parity=False)


def gate_of(artifact: Path) -> GateReport:
    measurements = read_measurements(artifact)
    assert measurements is not None
    assert measurements.gate is not None
    return measurements.gate


def test_the_manifest_states_precisions_target_and_calibration(int8_artifact: Path) -> None:
    manifest = load_manifest(int8_artifact)
    assert {name: graph.precision for name, graph in manifest.graphs.items()} == {
        "encoder": "int8-dynamic",
        "decoder": "int8",
    }
    assert manifest.build.target == host_target()
    assert len(manifest.build.calibration_sha256 or "") == 64
    assert manifest.build.options["calibration"] == "bundled recordings"
    assert os.listdir(int8_artifact.parent) == ["int8"]


def test_layers_are_compared_and_the_worst_are_shown(int8_artifact: Path) -> None:
    layers = gate_of(int8_artifact).layers
    assert layers is not None
    for name, loss in layers.graphs.items():
        assert 0 < loss.output_error < gate_module.LAYER_BOUND, name
        assert 0 < max(loss.layers.values()) < 1
    assert "logits" in layers.graphs["decoder"].layers
    assert layers.positions > 50
    worst = max(layers.graphs["decoder"].layers.items(), key=lambda item: item[1])
    text = format_inspection(inspect(int8_artifact))
    assert f"{worst[0]}" in text
    assert f"{worst[1]:.1e}" in text
    assert re.search(r"past_key_cross_0 to past_key_cross_\d+ \(\d+\) int8 ", text)


def test_quantizing_an_artifact_gives_what_building_gives(
    fp32_artifact: Path, int8_artifact: Path, tmp_path: Path
) -> None:
    quantized = snapshot(quantize(fp32_artifact, tmp_path / "int8", INT8))
    built = snapshot(int8_artifact)
    del quantized[MEASURED], built[MEASURED]
    assert quantized == built


def test_the_checksum_of_the_calibration_set_does_not_depend_on_names(
    fp32_artifact: Path, int8_artifact: Path, tmp_path: Path
) -> None:
    from edgewhisper.pipeline.recordings import BUNDLED_RECORDINGS

    renamed = tmp_path / "speech"
    renamed.mkdir()
    for number, path in enumerate(sorted(BUNDLED_RECORDINGS.glob("*.flac"), reverse=True)):
        (renamed / f"{number}.flac").symlink_to(path)
    options = BuildOptions(precision="int8", winograd="off", calibration=renamed)
    manifest = load_manifest(quantize(fp32_artifact, tmp_path / "int8", options))
    first = load_manifest(int8_artifact)
    assert manifest.build.calibration_sha256 == first.build.calibration_sha256
    assert manifest.files == first.files


@pytest.mark.parametrize("precision", ["fp16", "int8", "int8-dynamic", "int8-weight", "int4"])
def test_every_precision_transcribes(fp32_artifact: Path, tmp_path: Path, precision: Precision) -> None:
    artifact = quantize(fp32_artifact, tmp_path / precision, BuildOptions(precision=precision))
    samples = 0.1 * np.random.default_rng(0).standard_normal(32_000).astype(np.float32)
    options = DecodingOptions(language="en", temperature=0.0, max_tokens=8)
    segments, info = Transcriber(artifact).transcribe(samples, options)
    assert list(segments) or info.statistics.tokens
    steps = gate_of(artifact).steps
    assert (steps is not None) == (precision == "int8-dynamic")
    if steps is not None:
        assert 0 < steps.differing <= steps.rows


def test_a_quantized_artifact_is_not_quantized_again(int8_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is quantized already \(decoder\.onnx is int8\)"):
        quantize(int8_artifact, tmp_path / "again", INT8)
    assert not os.listdir(tmp_path)


def test_the_fp32_artifact_is_not_replaced_by_the_quantized_one(fp32_artifact: Path, tmp_path: Path) -> None:
    before = snapshot(fp32_artifact)
    with pytest.raises(UsageError, match="which would be lost; name another folder"):
        quantize(fp32_artifact, fp32_artifact.parent / "." / fp32_artifact.name, INT8)
    assert snapshot(fp32_artifact) == before


def test_nothing_to_convert_is_refused(fp32_artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"fp32: is fp32 already; give another --precision"):
        quantize(fp32_artifact, tmp_path / "out", BuildOptions())
    assert not os.listdir(tmp_path)


def test_portable_graphs_are_not_quantized(small_checkpoint: Path, tmp_path: Path) -> None:
    portable = build(small_checkpoint, tmp_path / "portable", BuildOptions(ops="portable"), parity=False)
    with pytest.raises(UsageError, match="built without --ops portable"):
        quantize(portable, tmp_path / "out", INT8)
    assert os.listdir(tmp_path) == ["portable"]


def test_convolutions_that_were_rewritten_for_fp32_are_said_to_be(
    small_checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rewritten = build(small_checkpoint, tmp_path / "fp32", BuildOptions(winograd="F4"), parity=False)
    with pytest.raises(UsageError, match=r"--winograd slices: the convolutions of .* are rewritten already"):
        quantize(rewritten, tmp_path / "out", BuildOptions(precision="int8", winograd="slices"))
    assert not caplog.text
    quantized = quantize(rewritten, tmp_path / "int8", BuildOptions(precision="int8"))
    assert "were rewritten for fp32 and stay in fp32" in caplog.text
    before, after = (load_manifest(folder).graph("encoder").rewrites for folder in (rewritten, quantized))
    assert {rewrite.method for rewrite in after} == {"F(4,3)", "F(4,2) of the outer taps"}
    assert before == after


def test_convolutions_that_were_rewritten_for_fp32_stay_in_fp32(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    """INT8 with one scale for all points of F(6,3) would double their error."""
    rewritten = build(small_checkpoint, tmp_path / "fp32", BuildOptions(winograd="F6"), parity=False)
    quantized = quantize(rewritten, tmp_path / "int8", BuildOptions(precision="int8", gate="off"))
    stems: set[str] = set()
    others: set[str] = set()
    for node in load_model(quantized / "encoder.onnx").graph:
        (stems if ".F6." in (node.name or "") else others).add(node.op_type)
    assert "MatMul" in stems
    assert "MatMulIntegerToFloat" in others - stems


def test_a_table_of_ones_own_decides_what_auto_takes(small_checkpoint: Path, tmp_path: Path) -> None:
    measured: dict[str, tuple[Measured, ...]] = {"fp32": (Measured(16, "F2", 1.5),)}
    table = tmp_path / "table.json"
    table.write_text(Table(host_target(), {host_target(): TargetTable("this machine", measured)}).to_json())
    artifact = build(
        small_checkpoint, tmp_path / "own", BuildOptions(winograd_table=table, gate="off"), parity=False
    )
    manifest = load_manifest(artifact)
    assert [info.method for info in manifest.graph("encoder").rewrites] == [
        "F(2,3)",
        "F(2,2) of the outer taps",
    ]
    assert [info.reason for info in manifest.graph("encoder").rewrites] == [None, None]
    assert manifest.build.options["winograd_table"] == "own table"


def test_a_file_that_is_no_table_is_refused_before_any_work(small_checkpoint: Path, tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    table.write_text("[]")
    with pytest.raises(UsageError, match=r"table\.json: is no table of convolutions"):
        build(small_checkpoint, tmp_path / "out", BuildOptions(winograd_table=table), parity=False)
    assert os.listdir(tmp_path) == ["table.json"]


def test_half_precision_for_a_processor_is_warned_of(
    fp32_artifact: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    quantize(fp32_artifact, tmp_path / "gpu", BuildOptions(precision="fp16", target="cuda", gate="off"))
    assert not caplog.text
    quantize(fp32_artifact, tmp_path / "cpu", BuildOptions(precision="fp16", target="arm64", gate="off"))
    assert "fp16 on arm64: saves disk space alone" in caplog.text
    assert "take --precision int8" in caplog.text


Bound = Callable[[float], None]


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> Bound:
    """Sets the gate's bound."""
    return lambda value: monkeypatch.setattr(gate_module, "LAYER_BOUND", value)


def test_the_gate_refuses_what_is_too_far_from_fp32(
    fp32_artifact: Path, tmp_path: Path, bound: Bound
) -> None:
    bound(1e-9)
    with pytest.raises(BuildError, match=r"encoder in int8-dynamic: its outputs are .*--on-loss fallback"):
        quantize(fp32_artifact, tmp_path / "int8", INT8)
    assert not os.listdir(tmp_path)


def test_a_fallback_ends_in_a_safer_precision_and_says_so(
    fp32_artifact: Path, tmp_path: Path, bound: Bound
) -> None:
    bound(1e-9)
    steps: list[BuildStep] = []
    options = BuildOptions(decoder_precision="int4", winograd="off", on_loss="fallback")
    artifact = quantize(fp32_artifact, tmp_path / "out", options, progress=steps.append)
    manifest = load_manifest(artifact)
    assert {graph.precision for graph in manifest.graphs.values()} == {"fp32"}
    assert manifest.build.options["decoder_precision"] == "fp32"
    assert (manifest.build.calibration_sha256, "calibration" in manifest.build.options) == (None, False)
    found = [(r.graph, r.precision, r.replaced_by) for r in gate_of(artifact).refusals]
    assert found == [("decoder", "int4", "int8-weight"), ("decoder", "int8-weight", "fp32")]
    assert any("to int8-weight instead of int4: the encoder's outputs are" in step.name for step in steps)
    assert any("to fp32 instead of int8-weight: its outputs are" in step.name for step in steps)
    assert "refused, fp32 instead" in format_inspection(inspect(artifact))


def test_a_decoder_that_falls_back_to_fp32_has_an_fp32_cache(
    fp32_artifact: Path, tmp_path: Path, bound: Bound
) -> None:
    bound(1e-9)
    options = BuildOptions(precision="int8", winograd="off", on_loss="fallback", self_kv="int8")
    manifest = load_manifest(quantize(fp32_artifact, tmp_path / "out", options))
    assert manifest.graph("decoder").precision == "fp32"
    assert "self_kv" not in manifest.build.options
    assert not [info for info in manifest.graph("decoder").inputs if info.dtype == "int8"]


def test_a_fallback_that_breaks_the_limit_of_memory_fails(
    fp32_artifact: Path, tmp_path: Path, bound: Bound
) -> None:
    bound(1e-9)
    limit = transcription_memory(SMALL, "int8-dynamic", "int8", True)
    options = BuildOptions(precision="int8", winograd="off", on_loss="fallback", max_ram=limit)
    with pytest.raises(BuildError, match=r"the next safer precision .* needs about .*nothing was written"):
        quantize(fp32_artifact, tmp_path / "out", options)
    assert not os.listdir(tmp_path)


def test_graphs_for_another_processor_are_judged_in_the_formats_of_this_one(
    fp32_artifact: Path, tmp_path: Path
) -> None:
    """INT8 products of another processor saturate here, or are slow: their errors would say nothing of it."""
    losses, decoders = [], []
    targets: tuple[Target, ...] = ("x86-avx2", "arm64", "x86-vnni")
    for target in targets:
        options = BuildOptions(precision="int8", winograd="off", target=target)
        artifact = quantize(fp32_artifact, tmp_path / target, options)
        losses.append(gate_of(artifact).layers)
        decoders.append((artifact / "decoder.onnx").read_bytes() + (artifact / "weights.bin").read_bytes())
        assert not [path for path in artifact.iterdir() if path.name.startswith(".")]
        nodes = [node.op_type for node in load_model(artifact / "encoder.onnx").graph]
        attentions = SMALL.encoder_layers * (PIECES if target == "arm64" else 1)
        assert nodes.count("MultiHeadAttention") == attentions
    assert losses[0] == losses[1] == losses[2]
    assert len(set(decoders)) == 3


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_every_layer_is_compared_those_that_are_scaled_or_rounded_too(
    fp32_artifact: Path, tmp_path: Path, precision: Precision
) -> None:
    artifact = quantize(fp32_artifact, tmp_path / "out", BuildOptions(precision=precision, winograd="off"))
    layers = gate_of(artifact).layers
    assert layers is not None
    for name, loss in layers.graphs.items():
        taps = layer_taps(load_model(fp32_artifact / f"{name}.onnx"))
        assert {tap.layer if tap.value != "logits" else "logits" for tap in taps} == loss.layers.keys()
        assert all(error < 0.25 for error in loss.layers.values())
        assert all(error > 0 for layer, error in loss.layers.items() if ".conv" not in layer)
    keys = [error for layer, error in layers.graphs["encoder"].layers.items() if ".encoder_attn." in layer]
    assert layers.graphs["encoder"].output_error == max(keys)


def test_half_precision_for_a_processor_keeps_fast_convolutions(
    small_checkpoint: Path, tmp_path: Path
) -> None:
    options = BuildOptions(precision="fp16", target="x86-avx2", winograd="F4", gate="off")
    manifest = load_manifest(build(small_checkpoint, tmp_path / "out", options, parity=False))
    methods = {info.method for info in manifest.graph("encoder").rewrites}
    assert methods == {"F(4,3)", "F(4,2) of the outer taps"}


def test_random_weights_are_gated_by_layers_alone(fp32_artifact: Path, tmp_path: Path) -> None:
    options = BuildOptions(decoder_precision="int8-weight", gate="text", winograd="off")
    gate = gate_of(quantize(fp32_artifact, tmp_path / "out", options))
    assert gate.layers is not None
    assert gate.text is None


@pytest.mark.slow
def test_the_text_of_the_bundled_model_in_int8_is_that_of_fp32_within_half_a_point(tmp_path: Path) -> None:
    options = BuildOptions(precision="int8", gate="text")
    text = gate_of(build("demo", tmp_path / "demo", options, parity=False)).text
    assert text is not None
    assert text.converted.wer <= text.fp32.wer + 0.005
    assert text.same_tokens > 0.9
    assert text.recordings == 46
