"""The graphs of an assistant: a smaller Whisper that proposes tokens, with an encoder of its own.

It is converted like the main model, on the same recordings and the text that the main model writes for them, and lies beside the main model under a draft's names, so that an
artifact without it still transcribes. No gate looks at it: where it is worse than it was, fewer of its guesses are right.
"""

from dataclasses import replace
from pathlib import Path

from edgewhisper.artifact import DRAFT, DRAFT_ENCODER, STEP, GraphInfo
from edgewhisper.models.assistant import scored_tokens
from edgewhisper.models.checkpoint import Checkpoint

from .conversion import Conversion, observe_values
from .options import BuildOptions, Plan, needs_statistics
from .passes import Observed, convert_graphs
from .source import Source, export_source
from .steps import Steps

FILES = {
    "encoder": f"{DRAFT_ENCODER}.onnx",
    "decoder": f"{DRAFT}.onnx",
    "weights": f"{DRAFT}_weights.bin",
}


def export_assistant(assistant: Checkpoint, folder: Path, options: BuildOptions) -> Source:
    """Write the fp32 graphs of an assistant into `folder`, which is made; raises what `export_source` raises."""
    folder.mkdir()
    scored = scored_tokens(assistant)
    every = len(scored) == assistant.dimensions.vocab_size
    return export_source(assistant, folder, options.ops, scored=None if every else scored)


def count_assistant_steps(plan: Plan, options: BuildOptions) -> int:
    """How many steps of a build an assistant takes."""
    return 2 + needs_statistics(plan, options)


def convert_assistant(
    source: Source, main: Conversion, options: BuildOptions, folder: Path, steps: Steps
) -> dict[str, GraphInfo]:
    """Write an assistant's graphs into the artifact in `folder`; returns them by the names that they have there.

    Args:
        source: its fp32 graphs, as `export_assistant` wrote them.
        main: what became of the main model, whose precisions and text it takes.
        options: of the build.
        folder: of the artifact.
        steps: told of each step.

    Raises:
        BuildError: a pass cannot be applied.
        MissingDependencyError: a package that is needed.
    """
    observed: Observed = {}
    if main.calibration is not None and needs_statistics(main.plan, options):
        with steps("observe the assistant's activations") as advance:
            observed = observe_values(source, main.plan, options, main.calibration, advance)
    with steps("convert the assistant"):
        graphs = convert_graphs(source, main.plan, options, observed, folder, FILES).graphs
    return {DRAFT_ENCODER: graphs["encoder"], DRAFT: replace(graphs["decoder"], kind=STEP)}
