"""The gate: an artifact that is too far from fp32 is refused, or made again in a safer precision."""

from dataclasses import dataclass

from edgewhisper.errors import BuildError

from .layer_gate import LayerReport
from .options import OnLoss, Plan, safer

# Of what leaves a graph, ||y - y32|| / ||y32||. Sound INT8 graphs stay under 0.05 and INT4 under 0.15; from about 0.3 the text of
# the bundled model begins to change (see docs/quantization.md).
LAYER_BOUND = 0.25


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
        layers: the errors; None where all graphs are fp32 in the end.
        refusals: of precisions that were tried before the artifact's.
    """

    layer_bound: float
    layers: LayerReport | None
    refusals: tuple[Refusal, ...] = ()


def judge_layers(report: LayerReport) -> Refusal | None:
    """The first graph whose outputs are beyond the bound; the decoder's errors include the encoder's."""
    for name, loss in report.graphs.items():
        if not loss.output_error <= LAYER_BOUND:
            worst = max(loss.layers, key=lambda layer: loss.layers[layer])
            reason = (
                f"its outputs are {loss.output_error:.2f} from fp32 (relative error; at most {LAYER_BOUND}), "
                f"most is lost in {worst}"
            )
            return Refusal(name, loss.precision, reason)
    return None


def next_plan(plan: Plan, refusal: Refusal, on_loss: OnLoss) -> tuple[Plan, Refusal]:
    """The plan to try after a refusal, and the refusal with the precision that replaces the refused one.

    Raises:
        BuildError: a loss is to fail the build, or no safer precision is left.
    """
    line = f"{refusal.graph} in {refusal.precision}: {refusal.reason}"
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
