"""From fp32 graphs to those of the artifact: calibration, passes and gate, and again where the gate asks for it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgewhisper.artifact import GraphInfo, ModelInfo
from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.quant.targets import number_formats
from edgewhisper.runtime.processor import host_target

from .calibration import CalibrationSet, collect
from .feeds import decoder_feeds, encoder_feeds
from .gate import (
    LAYER_BOUND,
    WER_BOUND,
    GateReport,
    Refusal,
    judge_layers,
    judge_text,
    next_plan,
    require_pruned_text,
)
from .layer_gate import compare_layers
from .memory_limit import MemoryNeed, require_fit
from .options import BuildOptions, Plan, needs_statistics
from .output_folder import scratch_folder
from .passes import Converted, Observed, convert_graphs, values_to_observe
from .source import Source
from .step_mismatch import measure_steps
from .steps import Steps
from .text_gate import Hypothesis, compare_text, require_scoring, write_all
from .transcripts import read_transcripts


@dataclass(frozen=True)
class Conversion:
    """The artifact's graphs.

    Attributes:
        graphs: name -> the graph.
        plan: the precisions that they have; safer ones than asked for, where the gate refused those.
        calibration_sha256: of the recordings that the graphs' scales come from; None where they need none.
        gate: what the gate found; None where it had nothing to compare.
        calibration: the recordings, and what the fp32 graphs wrote for them; None where nothing needed them.
    """

    graphs: Mapping[str, GraphInfo]
    plan: Plan
    calibration_sha256: str | None
    gate: GateReport | None
    calibration: CalibrationSet | None


def convert(
    source: Source,
    plan: Plan,
    options: BuildOptions,
    folder: Path,
    steps: Steps,
    need: MemoryNeed,
    *,
    original: Source | None = None,
) -> Conversion:
    """Write the graphs of the plan, or of a safer one, into `folder`.

    Args:
        source: the fp32 graphs to convert.
        plan: precisions and target.
        options: what the passes and the gate are asked for.
        folder: where the graphs go.
        steps: told of each step.
        need: what the memory limit is compared with.
        original: the fp32 graphs before pruning, with which the text is compared; None: `source`.

    Raises:
        BuildError: a pass cannot be applied, or the gate refuses the graphs.
        UsageError, AudioError: the calibration recordings cannot be used.
        MissingDependencyError: a package that is needed.
    """
    calibration: CalibrationSet | None = None
    observed: Observed = {}
    if needs_recordings(plan, options):
        with steps("transcribe the calibration recordings") as advance:
            calibration = collect(source, options.calibration, advance)
    if calibration is not None and needs_statistics(plan, options):
        with steps("observe activations") as advance:
            observed = observe_values(source, plan, options, calibration, advance)
    texts = None
    if (plan.is_converted or original) and compares_text(source.model, options):
        texts = _Texts.of_fp32(original or source, options, steps)
    if original is not None and texts is not None and plan.is_converted:
        with steps("compare the text of the pruned model with the whole one's") as advance:
            require_pruned_text(
                compare_text(source, source.graphs, source.folder, texts.recordings, texts.fp32, advance)
            )
    refusals: tuple[Refusal, ...] = ()
    while True:
        with steps(_conversion_step(plan, refusals)):
            converted = convert_graphs(source, plan, options, observed, folder)
        gate = None
        compared = calibration if options.gate != "off" and plan.is_converted else None
        if compared is not None or (original is not None and texts is not None):
            with _runnable(source, converted, plan, options, observed, folder) as (here, place):
                gate, refusal = _judge(source, here, place, compared, texts, steps, _again(refusals))
            if refusal is not None:
                plan, refusal = next_plan(plan, refusal, options.on_loss)
                require_fit(plan, options, need)
                refusals = (*refusals, refusal)
                continue
        if refusals:
            gate = replace(gate or GateReport(LAYER_BOUND, WER_BOUND, None), refusals=refusals)
        sha256 = calibration.sha256 if calibration is not None and needs_statistics(plan, options) else None
        return Conversion(converted.graphs, plan, sha256, gate, calibration)


@dataclass(frozen=True)
class _Texts:
    """The evaluation set, and what the fp32 graphs write for it."""

    recordings: Sequence[Utterance]
    fp32: Sequence[Hypothesis]

    @classmethod
    def of_fp32(cls, source: Source, options: BuildOptions, steps: Steps) -> "_Texts":
        require_scoring()
        recordings = read_transcripts(options.evaluation)
        with steps("transcribe the evaluation set in fp32") as advance:
            return cls(recordings, write_all(source.folder, source.manifest(), source, recordings, advance))


@contextlib.contextmanager
def _runnable(
    source: Source,
    converted: Converted,
    plan: Plan,
    options: BuildOptions,
    observed: Observed,
    folder: Path,
) -> Iterator[tuple[Converted, Path]]:
    """The graphs and their folder; of another target, a copy in the number formats of this machine.

    INT8 products of another target saturate here, or take a path that is fifteen times as slow, which says nothing of that target.
    """
    here = host_target()
    if not plan.targeted or plan.target == "cuda" or number_formats(plan.target) == number_formats(here):
        yield converted, folder
        return
    with scratch_folder(folder) as scratch:
        yield convert_graphs(source, replace(plan, target=here), options, observed, scratch), scratch


def _judge(
    source: Source,
    converted: Converted,
    folder: Path,
    calibration: CalibrationSet | None,
    texts: _Texts | None,
    steps: Steps,
    again: str,
) -> tuple[GateReport, Refusal | None]:
    """What the gate finds of converted graphs, and whether it refuses them; without calibration data, of their text alone."""
    layers = refusal = None
    graphs = converted.graphs
    if calibration is not None:
        with steps(f"compare the layers with fp32{again}") as advance:
            layers = compare_layers(source, converted, folder, calibration, advance)
        refusal = judge_layers(layers)
    report = GateReport(LAYER_BOUND, WER_BOUND, layers)
    if refusal is None and texts is not None:
        with steps(f"compare the text with fp32{again}") as advance:
            text = compare_text(source, graphs, folder, texts.recordings, texts.fp32, advance)
        report, refusal = replace(report, text=text), judge_text(text, layers)
    if refusal is None and calibration is not None and graphs["decoder"].precision == "int8-dynamic":
        with steps(f"compare steps of several tokens with single ones{again}"):
            report = replace(report, steps=measure_steps(source, graphs, folder, calibration))
    return report, refusal


def compares_text(model: ModelInfo, options: BuildOptions) -> bool:
    """Whether the gate looks at the text of converted or pruned graphs; random weights have none that could become worse."""
    return options.gate == "text" and not model.random_weights


def needs_recordings(plan: Plan, options: BuildOptions) -> bool:
    """Whether the plan needs calibration data: for scales, or to compare graphs on."""
    return needs_statistics(plan, options) or (plan.is_converted and options.gate != "off")


def count_steps(plan: Plan, options: BuildOptions) -> int:
    """How many steps `convert` takes where the gate refuses nothing and the weights are not random."""
    compares = plan.is_converted and options.gate != "off"
    compares_text = options.gate == "text" and (plan.is_converted or options.prunes)
    return (
        needs_recordings(plan, options)
        + needs_statistics(plan, options)
        + 1
        + 2 * compares_text
        + (options.gate == "text" and options.prunes and plan.is_converted)
        + compares * (1 + (plan.decoder == "int8-dynamic"))
    )


def observe_values(
    source: Source,
    plan: Plan,
    options: BuildOptions,
    calibration: CalibrationSet,
    advance: Callable[[float], None],
) -> Observed:
    """Statistics of what the passes of a plan need, over calibration data; `advance` is told how much is done."""
    from edgewhisper.quant.calibration import observe

    values = values_to_observe(source, plan, options)
    runs = len(calibration.windows) * len(values)
    observed = {}
    for index, (name, of_graph) in enumerate(values.items()):
        feeds = (
            encoder_feeds(calibration)
            if name == "encoder"
            else decoder_feeds(source.folder, source.manifest(), calibration, name)
        )
        before = index * len(calibration.windows)
        path = source.folder / source.graphs[name].file
        observed[name] = observe(path, of_graph, feeds, _advance(advance, before, runs))
    return observed


def _advance(advance: Callable[[float], None], before: int, runs: int) -> Callable[[int], None]:
    return lambda done: advance(min(1.0, (before + done) / runs))


def _conversion_step(plan: Plan, refusals: Sequence[Refusal]) -> str:
    if not refusals:
        return f"convert the encoder to {plan.encoder}, the decoder to {plan.decoder}"
    last = refusals[-1]
    return f"convert the {last.graph} to {last.replaced_by} instead of {last.precision}: {last.reason}"


def _again(refusals: Sequence[Refusal]) -> str:
    return f", attempt {len(refusals) + 1}" if refusals else ""
