"""Options of a build: what they mean together, and what is refused in one line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewhisper.errors import UsageError
from edgewhisper.pipeline.memory_limit import DraftSize, MemoryNeed, fit_memory
from edgewhisper.pipeline.options import PRECISIONS, BuildOptions, Plan, Precision, make_plan, safer
from edgewhisper.runtime.memory_budget import transcription_memory
from edgewhisper.runtime.processor import host_target
from tests.small_models import SMALL


def test_int8_is_dynamic_for_the_encoder_and_static_for_the_decoder() -> None:
    plan = make_plan(BuildOptions(precision="int8", target="arm64"))
    assert plan == Plan("int8-dynamic", "int8", "arm64")


def test_a_graphs_own_precision_goes_first_and_the_target_is_this_machines() -> None:
    plan = make_plan(BuildOptions(precision="int8", encoder_precision="fp32", decoder_precision="int4"))
    assert plan == Plan("fp32", "int4", host_target())


@pytest.mark.parametrize(
    ("options", "targeted"),
    [
        ({"precision": "fp32"}, False),
        ({"precision": "int8-weight"}, False),
        ({"precision": "fp16", "target": "x86-avx2"}, False),
        ({"precision": "fp16", "target": "cuda"}, True),
        ({"precision": "int8"}, True),
        ({"decoder_precision": "int8-dynamic"}, True),
        ({"decoder_precision": "int4"}, True),  # keys and values of cross-attention are INT8
    ],
)
def test_only_int8_products_and_gpu_graphs_suit_one_target(options: dict[str, Any], targeted: bool) -> None:
    assert make_plan(BuildOptions(**options)).targeted is targeted


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int3"}, "unknown precision 'int3'; known are fp32, fp16"),
        ({"encoder_precision": "half"}, "unknown encoder precision 'half'"),
        ({"target": "riscv"}, "unknown target 'riscv'; known are x86-vnni"),
        ({"winograd": "F5"}, "unknown winograd 'F5'"),
        ({"gate": "words"}, "unknown gate 'words'"),
        ({"on_loss": "shrug"}, "unknown on-loss 'shrug'"),
        ({"calibration_method": "mean"}, "unknown calibration method 'mean'"),
        ({"block_size": 48}, "block size 48: choose one of 16, 32, 64"),
        ({"prune_heads": 1.0}, "prune-heads 1.0: must be a share"),
        ({"prune_feed_forward": float("nan")}, "prune-feed-forward nan: must be a share"),
        ({"encoder_precision": "fp16"}, "fp16 is for both graphs"),
        ({"precision": "int8", "target": "cuda"}, "attention over a cache is half precision there"),
        ({"precision": "fp32", "target": "cuda"}, "take --precision fp16, or --ops portable for fp32"),
        ({"precision": "int8", "ops": "portable"}, "--ops portable is for fp32 graphs"),
        ({"self_kv": "int8"}, "--self-kv int8 is for quantized decoders, not for fp32"),
        ({"self_kv": "int4"}, "unknown self-kv 'int4'"),
        ({"draft": "shared:1", "prune_heads": 0.1}, "--draft is for whole models with fused operators"),
        (
            {"winograd": "F4", "target": "cuda", "precision": "fp16"},
            "left to its provider; leave --winograd out",
        ),
        ({"winograd": "F4", "ops": "portable"}, "--winograd with --ops portable"),
        ({"evaluation": Path("speech")}, "--evaluation is for the gate of the text"),
        ({"calibration": Path("speech")}, "--calibration: nothing needs recordings in this build"),
        (
            {"precision": "int8-weight", "gate": "off", "calibration": Path("speech")},
            "--calibration: nothing needs recordings",
        ),
        ({"precision": "int4", "calibration_method": "entropy"}, "a decoder in static INT8, not in int4"),
        ({"precision": "int8", "block_size": 16}, "--block-size is for precisions int8-weight and int4"),
        ({"precision": "int8", "weight_method": "k-quant"}, "--weight-method is for precisions int8-weight"),
        ({"winograd": "F4", "winograd_table": Path("t.json")}, "--winograd-table is what --winograd auto"),
        ({"precision": "int4", "block_size": 64}, "block size 64: not with int4; choose one of 16, 32"),
        ({"gate": "text"}, "--gate text: fp32 graphs of a whole model lose nothing"),
        ({"on_loss": "fallback"}, "--on-loss fallback: fp32 graphs of a whole model lose nothing"),
        ({"precision": "int8", "gate": "off", "on_loss": "fallback"}, "--on-loss fallback with --gate off"),
        ({"ops": "portable", "winograd_table": Path("t.json")}, "--winograd-table is what --winograd auto"),
        (
            {"target": "cuda", "precision": "fp16", "winograd_table": Path("t.json")},
            "--winograd-table is what --winograd auto",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_plan(BuildOptions(**options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "int8-weight", "calibration": Path("speech")},
        {"prune_heads": 0.1, "calibration": Path("speech")},
        {"max_ram": 10**9, "calibration": Path("speech"), "calibration_method": "entropy"},
        {"max_ram": 10**9, "self_kv": "int8"},
        {"prune_heads": 0.1, "gate": "text", "evaluation": Path("speech")},
        {"precision": "int8", "decoder_precision": "int4", "block_size": 16, "weight_method": "k-quant"},
        {"encoder_precision": "int8-weight", "block_size": 64},
        {"precision": "int8", "winograd_table": Path("table.json")},
    ],
)
def test_what_a_build_uses_or_may_use_is_accepted(options: dict[str, Any]) -> None:
    planned = {
        key: options[key] for key in options.keys() & {"precision", "encoder_precision", "decoder_precision"}
    }
    assert make_plan(BuildOptions(**options)) == make_plan(BuildOptions(**planned))


GRAPHS = st.sampled_from(["encoder", "decoder"])
PLANS = st.one_of(
    st.builds(
        Plan,
        st.sampled_from([name for name in PRECISIONS if name not in ("int8", "fp16")]),
        st.sampled_from([name for name in PRECISIONS if name != "fp16"]),
        st.just("x86-vnni"),
    ),
    st.just(Plan("fp16", "fp16", "arm64")),
)


@pytest.mark.parametrize("graph", ["encoder", "decoder"])
def test_nothing_is_safer_on_a_gpu(graph: str) -> None:
    assert safer(Plan("fp16", "fp16", "cuda"), graph) is None


@given(PLANS, st.lists(GRAPHS, min_size=8, max_size=8))
def test_safer_plans_are_sound_and_end_in_fp32(plan: Plan, graphs: list[str]) -> None:
    for graph in [*graphs, *["encoder", "decoder"] * 4]:
        following = safer(plan, graph)
        if following is None:
            assert getattr(plan, graph) == "fp32"
            continue
        assert following != plan
        options = BuildOptions(
            encoder_precision=following.encoder, decoder_precision=following.decoder, target=plan.target
        )
        assert make_plan(options) == following
        plan = following
    assert not plan.is_converted


def memory(encoder: Precision, decoder: Precision, *, low: bool = False) -> int:
    return transcription_memory(SMALL, encoder, decoder, low)


def test_fp32_stays_where_it_fits() -> None:
    plan = make_plan(BuildOptions())
    assert fit_memory(plan, BuildOptions(max_ram=memory("fp32", "fp32")), MemoryNeed(SMALL)) == plan


@given(st.integers(1, 2 * memory("fp32", "fp32")))
def test_what_is_chosen_fits_and_nothing_is_refused_that_would(limit: int) -> None:
    candidates: list[tuple[Precision, Precision]] = [
        ("fp32", "fp32"),
        ("int8-dynamic", "int8"),
        ("int8-dynamic", "int4"),
    ]
    plan, options = make_plan(BuildOptions()), BuildOptions(max_ram=limit)
    if all(memory(*pair, low=True) > limit for pair in candidates[1:]) and memory(*candidates[0]) > limit:
        with pytest.raises(UsageError, match="take a smaller model"):
            fit_memory(plan, options, MemoryNeed(SMALL))
    else:
        fitting = fit_memory(plan, options, MemoryNeed(SMALL))
        assert memory(fitting.encoder, fitting.decoder, low=True) <= limit


@pytest.mark.parametrize(
    "asked", [{"precision": "int8-weight"}, {"precision": "fp32"}, {"decoder_precision": "fp32"}]
)
def test_a_precision_that_was_asked_for_is_kept_or_refused(asked: dict[str, Any]) -> None:
    options = BuildOptions(**asked, max_ram=1_000_000)
    (precision,) = asked.values()
    with pytest.raises(UsageError, match=rf"1 MB: a transcription needs about .*decoder in {precision}"):
        fit_memory(make_plan(options), options, MemoryNeed(SMALL))


def test_an_option_that_the_chosen_precision_does_not_read_is_refused() -> None:
    options = BuildOptions(max_ram=10**9, block_size=16)
    with pytest.raises(UsageError, match="--block-size is for precisions int8-weight and int4"):
        fit_memory(make_plan(options), options, MemoryNeed(SMALL))
    options = BuildOptions(max_ram=memory("int8-dynamic", "int4", low=True), block_size=16)
    assert fit_memory(make_plan(options), options, MemoryNeed(SMALL)).decoder == "int4"


@pytest.mark.parametrize(
    "draft",
    [DraftSize("heads", 1, 500), DraftSize("step", 2, 500), DraftSize(assistant=SMALL)],
    ids=["heads", "shared", "assistant"],
)
def test_a_draft_counts(draft: DraftSize) -> None:
    plan, alone = make_plan(BuildOptions(precision="int8")), MemoryNeed(SMALL)
    limit, need = alone.of(plan), MemoryNeed(SMALL, draft)
    options = BuildOptions(precision="int8", max_ram=limit)
    assert fit_memory(plan, options, alone) == plan
    with pytest.raises(UsageError, match=r"needs about .*; leave out --draft, or take a smaller model"):
        fit_memory(plan, options, need)
    assert fit_memory(plan, replace(options, max_ram=need.of(plan)), need) == plan
