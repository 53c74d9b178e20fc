"""The gate: an artifact that is too far from fp32 is refused, or made again in a safer precision."""

from dataclasses import dataclass

from edgewhisper.errors import BuildError

from .layer_gate import LayerReport
from .options import OnLoss, Plan, safer
from .step_mismatch import StepMismatch
from .text_gate import TextReport

# Of what leaves a graph, ||y - y32|| / ||y32||: half as much again as the worst of sound graphs, INT4 with the random weights of
# base.en (0.17). INT8 stays under 0.05; a wrong scale is far beyond.
LAYER_BOUND = 0.25
# By which the word error rate may rise: what INT4 is meant to cost at most. On the 855 bundled words it is 13 of them.
WER_BOUND = 0.015


@dataclass(frozen=True)
class Refusal:
    """Why the gate refuses a converted graph.

    Attributes:
        graph: "encoder" or "decoder".
        precision: it had.
        reason: the figure and its bound.
        replaced_by: the precision it was made in instead; None where the build failed.
    """

    graph: str
    precision: str
    reason: str
    replaced_by: str | None = None


@dataclass(frozen=True)
class GateReport:
    """What the gate found.

    Attributes:
        layer_bound: the most that the error of a graph's outputs may be.
        wer_bound: the most by which the word error rate may rise.
        layers: the errors, of conversion alone; None where all graphs are fp32 in the end.
        text: error rates, beside those of the whole model in fp32 where it was pruned; None where the text was not compared.
        steps: of a dynamic INT8 decoder, what steps of several tokens change.
        refusals: of precisions that were tried before the artifact's.
    """

    layer_bound: float
    wer_bound: float
    layers: LayerReport | None
    text: TextReport | None = None
    steps: StepMismatch | None = None
    refusals: tuple[Refusal, ...] = ()


def judge_layers(report: LayerReport) -> Refusal | None:
    """The graph that is to blame for outputs beyond the bound.

    An fp32 decoder's errors come from the encoder, an fp32 encoder's from the INT8 that its keys and values are rounded to for
    the decoder.
    """
    for name, loss in report.graphs.items():
        if not loss.output_error <= LAYER_BOUND:
            worst = max(loss.layers, key=lambda layer: loss.layers[layer])
            figure = f"{loss.output_error:.2f} from fp32 (relative error; at most {LAYER_BOUND})"
            if loss.precision == "fp32":
                other = "decoder" if name == "encoder" else "encoder"
                reason = f"the {name}'s outputs are {figure} although the {name} is in fp32"
                return Refusal(other, report.graphs[other].precision, reason)
            return Refusal(name, loss.precision, f"its outputs are {figure}, most is lost in {worst}")
    return None


def judge_text(report: TextReport, layers: LayerReport | None) -> Refusal | None:
    """The graph that loses most, where the word error rate has risen too far; without layers, both pruned graphs."""
    rise = report.converted.wer - report.fp32.wer
    if rise <= WER_BOUND:
        return None
    reason = (
        f"the word error rate is {100 * report.converted.wer:.1f} %, {100 * rise:.1f} points more than in fp32 "
        f"(at most {100 * WER_BOUND:g})"
    )
    if layers is None:
        return Refusal("pruned graphs", "fp32", reason)
    converted = {name: loss for name, loss in layers.graphs.items() if loss.precision != "fp32"}
    name = max(converted, key=lambda graph: converted[graph].output_error)
    return Refusal(name, converted[name].precision, reason)


def require_pruned_text(report: TextReport) -> None:
    """Check what pruning alone costs, so that conversion is not blamed for it.

    Raises:
        BuildError: the word error rate has risen too far.
    """
    rise = report.converted.wer - report.fp32.wer
    if rise > WER_BOUND:
        raise BuildError(
            f"the pruned model in fp32: the word error rate is {100 * report.converted.wer:.1f} %, {100 * rise:.1f} points more "
            f"than the whole model's (at most {100 * WER_BOUND:g}); nothing was written; prune less"
        )


def next_plan(plan: Plan, refusal: Refusal, on_loss: OnLoss) -> tuple[Plan, Refusal]:
    """The plan to try after a refusal, and the refusal with the precision that replaces the refused one.

    Raises:
        BuildError: a loss is to fail the build, or no safer precision is left.
    """
    line = f"{refusal.graph} in {refusal.precision}: {refusal.reason}"
    if not plan.is_converted:
        raise BuildError(f"{line}; nothing was written; prune less")
    if on_loss == "fail":
        raise BuildError(
            f"{line}; nothing was written; take a safer precision, other calibration data, or --on-loss fallback"
        )
    graphs = (refusal.graph, "encoder", "decoder")
    for graph in graphs:
        following = safer(plan, graph)
        if following is not None:
            precision = following.encoder if graph == "encoder" else following.decoder
            current = plan.encoder if graph == "encoder" else plan.decoder
            return following, Refusal(graph, current, refusal.reason, precision)
    raise BuildError(f"{line}; nothing was written, and no safer precision is left")
