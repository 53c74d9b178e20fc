"""From fp32 graphs to those of the artifact: calibration, passes and gate, and again where the gate asks for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.artifact import GraphInfo

from .calibration import CalibrationSet, collect
from .feeds import decoder_feeds, encoder_feeds
from .gate import LAYER_BOUND, GateReport, Refusal, judge_layers, next_plan
from .layer_gate import compare_layers
from .options import BuildOptions, Plan
from .passes import Observed, convert_graphs, has_int8_cross_kv, values_to_observe
from .source import Source
from .steps import Steps


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
    observed = Observed()
    if needs_recordings(plan, options):
        with steps("transcribe the calibration recordings") as advance:
            calibration = collect(source, options.calibration, advance)
    if calibration is not None and needs_statistics(plan):
        with steps("observe activations") as advance:
            observed = _observe(source, plan, calibration, advance)
    refusals: tuple[Refusal, ...] = ()
    while True:
        with steps(_conversion_step(plan, refusals)):
            graphs = convert_graphs(source, plan, options, observed, folder)
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
        sha256 = calibration.sha256 if calibration is not None and needs_statistics(plan) else None
        return Conversion(graphs, plan, sha256, gate)


def needs_recordings(plan: Plan, options: BuildOptions) -> bool:
    """Whether the plan needs calibration data: for scales, or to compare graphs on."""
    return needs_statistics(plan) or (plan.is_converted and options.gate != "off")


def needs_statistics(plan: Plan) -> bool:
    """Whether passes of the plan need to know what values the fp32 graphs compute."""
    return plan.decoder == "int8" or has_int8_cross_kv(plan)


def count_steps(plan: Plan, options: BuildOptions) -> int:
    """How many steps `convert` takes where the gate refuses nothing."""
    compares = plan.is_converted and options.gate != "off"
    return needs_recordings(plan, options) + needs_statistics(plan) + 1 + compares


def _observe(
    source: Source, plan: Plan, calibration: CalibrationSet, advance: Callable[[float], None]
) -> Observed:
    from edgewhisper.quant.calibration import observe

    encoded, decoded = values_to_observe(source, plan)
    count = len(calibration.windows)
    return Observed(
        observe(
            source.folder / source.graphs["encoder"].file,
            encoded,
            encoder_feeds(calibration),
            lambda done: advance(done / count / 2),
        ),
        observe(
            source.folder / source.graphs["decoder"].file,
            decoded,
            decoder_feeds(source.folder, source.manifest(), calibration),
            lambda done: advance(0.5 + done / count / 2),
        ),
    )


def _conversion_step(plan: Plan, refusals: Sequence[Refusal]) -> str:
    if not refusals:
        return f"convert the encoder to {plan.encoder}, the decoder to {plan.decoder}"
    last = refusals[-1]
    return f"convert the {last.graph} to {last.replaced_by} instead of {last.precision}: {last.reason}"


def _again(refusals: Sequence[Refusal]) -> str:
    return f", attempt {len(refusals) + 1}" if refusals else ""
