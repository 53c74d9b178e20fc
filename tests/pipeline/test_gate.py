"""The gate's judgement of errors and of text, and what pruning costs."""

import shutil
from pathlib import Path

import pytest

from edgewhisper.artifact import load_manifest
from edgewhisper.bench.corpora.tables import TRANSCRIPTS
from edgewhisper.errors import BuildError
from edgewhisper.pipeline.build import build
from edgewhisper.pipeline.gate import (
    LAYER_BOUND,
    WER_BOUND,
    Refusal,
    judge_layers,
    judge_text,
    next_plan,
)
from edgewhisper.pipeline.inspect import inspect
from edgewhisper.pipeline.inspection_text import format_inspection
from edgewhisper.pipeline.layer_gate import GraphLoss, LayerReport
from edgewhisper.pipeline.measurements import read_measurements
from edgewhisper.pipeline.options import BuildOptions, Plan, Precision
from edgewhisper.pipeline.recordings import BUNDLED_RECORDINGS
from edgewhisper.pipeline.text_gate import Hypothesis, TextReport, TextScore, same_tokens


def losses(encoder: tuple[Precision, float], decoder: tuple[Precision, float]) -> LayerReport:
    graphs = {
        "encoder": GraphLoss(*encoder, {"a": 0.0, "b": encoder[1]}),
        "decoder": GraphLoss(*decoder, {"logits": decoder[1]}),
    }
    return LayerReport(graphs, 1.0, 100)


def texts(fp32: float, converted: float) -> TextReport:
    return TextReport(10, 100, TextScore(fp32, 0, 1, fp32), TextScore(converted, 0, 1, converted), 1.0)


def test_the_graph_beyond_the_bound_is_refused_and_its_worst_layer_named() -> None:
    assert judge_layers(losses(("int4", LAYER_BOUND), ("int8", LAYER_BOUND))) is None
    refusal = judge_layers(losses(("int4", 0.1), ("int8", 0.26)))
    assert refusal is not None
    assert (refusal.graph, refusal.precision) == ("decoder", "int8")
    refusal = judge_layers(losses(("int4", float("nan")), ("int8", 0.1)))
    assert refusal is not None
    assert refusal.graph == "encoder"


def test_an_fp32_decoder_is_not_blamed_for_the_encoder() -> None:
    for refusal in (
        judge_layers(losses(("int4", 0.1), ("fp32", 0.3))),
        judge_text(texts(0.0, 0.5), losses(("int4", 0.1), ("fp32", 0.2))),
    ):
        assert refusal is not None
        assert (refusal.graph, refusal.precision) == ("encoder", "int4")


def test_an_fp32_encoder_is_not_blamed_for_the_int8_of_its_keys() -> None:
    refusal = judge_layers(losses(("fp32", 0.3), ("int4", 0.1)))
    assert refusal is not None
    assert (refusal.graph, refusal.precision) == ("decoder", "int4")


def test_text_that_became_worse_is_refused() -> None:
    layers = losses(("int8-dynamic", 0.02), ("int8", 0.03))
    assert judge_text(texts(0.01, 0.01 + WER_BOUND - 1e-6), layers) is None
    refusal = judge_text(texts(0.01, 0.01 + WER_BOUND + 1e-6), layers)
    assert refusal is not None
    assert refusal.graph == "decoder"


def test_a_fallback_goes_on_with_the_other_graph_where_the_refused_one_is_fp32_already() -> None:
    plan, refusal = next_plan(
        Plan("int8-dynamic", "fp32", "arm64"), Refusal("decoder", "fp32", ""), "fallback"
    )
    assert (plan.encoder, plan.decoder) == ("fp32", "fp32")
    assert (refusal.graph, refusal.replaced_by) == ("encoder", "fp32")


def test_same_tokens_counts_those_that_come_in_the_same_order() -> None:
    reference = [Hypothesis("", (b"a", b"b", b" c", b"d")), Hypothesis("", ())]
    assert same_tokens(reference, reference) == 1.0
    assert same_tokens(reference, [Hypothesis("", (b"a", b" c", b"d")), Hypothesis("", (b"x",))]) == 0.75


@pytest.fixture
def few_recordings(tmp_path: Path) -> Path:
    """Three of the bundled recordings, with their transcripts."""
    folder = tmp_path / "evaluation"
    folder.mkdir()
    header, *rows = (BUNDLED_RECORDINGS / TRANSCRIPTS).read_text().splitlines()
    name = header.split("\t").index("file")
    chosen = [row for row in rows if row.split("\t")[name].startswith("seen-00")][:3]
    for row in chosen:
        shutil.copy(BUNDLED_RECORDINGS / row.split("\t")[name], folder)
    (folder / TRANSCRIPTS).write_text("\n".join([header, *chosen]) + "\n")
    return folder


def test_the_text_of_a_pruned_model_is_compared_with_the_whole_models(
    few_recordings: Path, tmp_path: Path
) -> None:
    options = BuildOptions(gate="text", evaluation=few_recordings, prune_heads=0.6)
    with pytest.raises(BuildError, match=r"pruned graphs in fp32: the word error rate is .*prune less"):
        build("demo", tmp_path / "heads", options, parity=False)
    options = BuildOptions(
        precision="int8", gate="text", evaluation=few_recordings, prune_heads=0.6, on_loss="fallback"
    )
    with pytest.raises(BuildError, match=r"the pruned model in fp32: the word error rate is .*prune less"):
        build("demo", tmp_path / "heads", options, parity=False)
    options = BuildOptions(gate="text", evaluation=few_recordings, prune_vocabulary="languages:en")
    measured = read_measurements(build("demo", tmp_path / "english", options, parity=False))
    assert measured is not None
    assert measured.gate is not None
    assert measured.gate.text is not None
    assert measured.gate.text.same_tokens == 1.0
    assert measured.pruning is not None
    assert measured.pruning.vocabulary is not None
    assert measured.pruning.vocabulary.tokens_after < measured.pruning.vocabulary.tokens_before


def test_what_pruning_costs_is_measured_without_being_asked_for(tmp_path: Path) -> None:
    shares = []
    for ratio in (0.1, 0.8):
        artifact = build("demo", tmp_path / str(ratio), BuildOptions(prune_feed_forward=ratio), parity=False)
        measured = read_measurements(artifact)
        assert measured is not None
        assert measured.pruning is not None
        structure = measured.pruning.structure
        assert structure is not None
        assert structure.cost is not None
        shares.append(structure.cost.same_tokens)
        assert 0 < structure.cost.logits_error < 2
        build_info = load_manifest(artifact).build
        assert build_info.calibration_sha256 == structure.calibration_sha256
        assert build_info.options["calibration"] == "bundled recordings"
        assert "cost of pruning" in format_inspection(inspect(artifact))
    assert shares[0] > 0.9 > shares[1]
