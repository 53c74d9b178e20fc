"""From fp32 graphs to those of the artifact: calibration, passes and gate, and again where the gate asks for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgewhisper.artifact import GraphInfo

from .calibration import CalibrationSet, collect
from .feeds import decoder_feeds
from .gate import LAYER_BOUND, GateReport, Refusal, judge_layers, next_plan
from .layer_gate import compare_layers
from .options import BuildOptions, Plan
from .passes import convert_graphs
from .source import Source
from .steps import Steps

if TYPE_CHECKING:
    from edgewhisper.quant.calibration import Statistics


@dataclass(frozen=True)
class Conversion:
    """The artifact's graphs.

    Attributes:
        graphs: name -> the graph.
        plan: the precisions that they have; safer ones than asked for, where the gate refused those.
        calibration_sha256: of the recordings that the graphs' scales come from; None where they need none.
        gate: what the gate found; None where it had nothing to compare.
    """

    graphs: Mapping[str, GraphInfo]
    plan: Plan
    calibration_sha256: str | None
    gate: GateReport | None


def convert(source: Source, plan: Plan, options: BuildOptions, folder: Path, steps: Steps) -> Conversion:
    """Write the graphs of the plan, or of a safer one, into `folder`.

    Raises:
        BuildError: a pass cannot be applied, or the gate refuses the graphs.
        UsageError, AudioError: the calibration recordings cannot be used.
        MissingDependencyError: a package that is needed.
    """
    calibration: CalibrationSet | None = None
    statistics: Mapping[str, Statistics] = {}
    if needs_recordings(plan, options):
        with steps("transcribe the calibration recordings") as advance:
            calibration = collect(source, options.calibration, advance)
    if calibration is not None and plan.decoder == "int8":
        with steps("observe activations") as advance:
            statistics = _observe(source, calibration, advance)
    refusals: tuple[Refusal, ...] = ()
    while True:
        with steps(_conversion_step(plan, refusals)):
            graphs = convert_graphs(source, plan, options, statistics, folder)
        layers = None
        if calibration is not None and options.gate != "off" and plan.is_converted:
            with steps(f"compare with fp32{_again(refusals)}") as advance:
                layers = compare_layers(source, graphs, folder, calibration, advance)
            refusal = judge_layers(layers)
            if refusal is not None:
                plan, refusal = next_plan(plan, refusal, options.on_loss)
                refusals = (*refusals, refusal)
                continue
        gate = GateReport(LAYER_BOUND, layers, refusals) if layers or refusals else None
        sha256 = calibration.sha256 if calibration is not None and plan.decoder == "int8" else None
        return Conversion(graphs, plan, sha256, gate)


def needs_recordings(plan: Plan, options: BuildOptions) -> bool:
    """Whether the plan needs calibration data: for scales, or to compare graphs on."""
    return plan.decoder == "int8" or (plan.is_converted and options.gate != "off")


def count_steps(plan: Plan, options: BuildOptions) -> int:
    """How many steps `convert` takes where the gate refuses nothing."""
    compares = plan.is_converted and options.gate != "off"
    return needs_recordings(plan, options) + (plan.decoder == "int8") + 1 + compares


def _observe(
    source: Source, calibration: CalibrationSet, advance: Callable[[float], None]
) -> "Mapping[str, Statistics]":
    from edgewhisper.export.model_file import load_model
    from edgewhisper.quant.calibration import observe
    from edgewhisper.quant.static import inputs_to_observe

    path = source.folder / source.graphs["decoder"].file
    return observe(
        path,
        inputs_to_observe(load_model(path)),
        decoder_feeds(source.folder, source.manifest(), calibration),
        lambda done: advance(done / len(calibration.windows)),
    )


def _conversion_step(plan: Plan, refusals: Sequence[Refusal]) -> str:
    if not refusals:
        return f"convert the encoder to {plan.encoder}, the decoder to {plan.decoder}"
    last = refusals[-1]
    return f"convert the {last.graph} to {last.replaced_by} instead of {last.precision}: {last.reason}"


def _again(refusals: Sequence[Refusal]) -> str:
    return f", attempt {len(refusals) + 1}" if refusals else ""
