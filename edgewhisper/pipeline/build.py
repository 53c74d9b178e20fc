"""The build: checkpoint -> fp32 graphs -> passes -> gate -> artifact."""

import gc
import logging
import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from edgewhisper.artifact import PHRASES
from edgewhisper.atomic import atomic_folder
from edgewhisper.errors import MissingDependencyError, UsageError
from edgewhisper.models.checkpoint import Checkpoint, expected_shapes
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.runtime.processor import host_target

from .artifact_writer import copy_vocabulary, write_manifest
from .assistant import convert_assistant, count_assistant_steps, export_assistant
from .conversion import Conversion, compares_text, convert, count_steps
from .draft_choice import choose_draft
from .measurements import ConvolutionTime, Measurements, Pruning, write_measurements
from .memory_limit import DraftSize, MemoryNeed, fit_memory
from .options import BuildOptions, Plan, make_plan, recorded_options
from .output_folder import check_replaceable, check_space, disk_errors, scratch_folder
from .parity import ParityReport, require_parity
from .parity_process import compare_graphs, run_reference
from .recordings import list_recordings
from .reference import missing_packages
from .source import Source, artifact_source, export_source
from .steps import Progress, Steps
from .transcripts import read_transcripts

if TYPE_CHECKING:
    from edgewhisper.quant.pruning.choice import VocabularyChoice


_LOG = logging.getLogger("edgewhisper")


def build(
    model: str | Path,
    output: str | Path,
    options: BuildOptions | None = None,
    *,
    parity: bool | None = None,
    progress: Progress = lambda step: None,
) -> Path:
    """Build an artifact.

    Args:
        model: what `models.reader.read_checkpoint` reads: a name, hub id, folder or file.
        output: the artifact's folder. An artifact that is there is replaced when the new one is complete.
        options: precisions, target, passes and checks; None for the defaults.
        parity: compare the fp32 graphs with PyTorch; None: where PyTorch, transformers and ONNX Runtime are installed.
        progress: called as each step begins.

    Returns:
        The artifact's folder.

    Raises:
        UsageError: options that cannot be used, or an `output` that holds something other than an artifact.
        CheckpointError: the model cannot be read.
        AudioError: a recording for calibration or evaluation cannot be read.
        MissingDependencyError: a package that the checkpoint, the graphs or a check need.
        BuildError: a pass or a check failed, no device would read the artifact, or the disk is full or not writable. Nothing
            is written then.
    """
    output = Path(output)
    options = options or BuildOptions()
    plan = make_plan(options)
    _check_inputs(options)
    _warn_of_half_precision(plan)
    check_replaceable(output)
    choice = None
    if options.prune_vocabulary is not None:
        from edgewhisper.quant.pruning.choice import parse_vocabulary_choice

        choice = parse_vocabulary_choice(options.prune_vocabulary)
        options = replace(options, prune_vocabulary=str(choice))
    parity = _wants_parity(parity)
    steps = Steps(progress, total=3 + 2 * parity + _pruning_steps(options) + count_steps(plan, options))
    with steps("read the checkpoint"):
        checkpoint = read_checkpoint(model)
        chosen = None
        if options.draft is not None:
            chosen = choose_draft(options.draft, checkpoint)
            options = replace(options, draft=chosen.record)
    of_assistant = 0 if chosen is None or chosen.assistant is None else count_assistant_steps(plan, options)
    steps.total += of_assistant
    weights = _fp32_bytes(checkpoint)
    further = 2 * _fp32_bytes(chosen.assistant) if chosen and chosen.assistant else 0
    check_space(output, (2 + parity + options.prunes) * weights + further)
    with disk_errors(output), atomic_folder(output) as folder, scratch_folder(folder) as scratch:
        original = None
        if options.prunes and compares_text(checkpoint.model, options):
            whole = scratch / "original"
            whole.mkdir()
            original = export_source(checkpoint, whole, "fused")
        checkpoint, pruning = _prune(checkpoint, choice, options, scratch, steps)
        need = MemoryNeed(checkpoint.dimensions, DraftSize.of_choice(chosen))
        plan = fit_memory(plan, options, need)
        steps.total = 3 + 2 * parity + _pruning_steps(options) + count_steps(plan, options) + of_assistant
        with steps("write the graphs"):
            source = export_source(checkpoint, scratch, options.ops, chosen.draft if chosen else None)
            if chosen and chosen.phrases is not None:
                chosen.phrases.write(scratch / PHRASES)
        assistant = None
        if chosen and chosen.assistant is not None:
            with steps("write the assistant's graphs"):
                assistant = export_assistant(chosen.assistant, scratch / "assistant", options)
        report = None
        if parity:
            with steps("run PyTorch"):
                run_reference(checkpoint, scratch)
            with steps("compare with PyTorch"):
                report = compare_graphs(source.folder, source.manifest(), scratch)
                require_parity(report)
        del checkpoint, chosen  # so that their memory is free when the graphs are loaded
        gc.collect()
        _finish(source, plan, options, Checks(report, pruning, original), folder, steps, need, assistant)
    return output


def quantize(
    artifact: str | Path,
    output: str | Path,
    options: BuildOptions,
    *,
    progress: Progress = lambda step: None,
) -> Path:
    """Build an artifact from an fp32 one.

    Args:
        artifact: the fp32 artifact's folder.
        output: the new artifact's folder, another one.
        options: as for `build`; what needs the checkpoint (parity, pruning, operators) cannot be asked for.
        progress: called as each step begins.

    Returns:
        The new artifact's folder.

    Raises:
        ArtifactError: no artifact, or a damaged one.
        UsageError, AudioError, MissingDependencyError, BuildError: as `build`.
    """
    output = Path(output)
    plan = make_plan(options)
    _check_inputs(options)
    _warn_of_half_precision(plan)
    if options.ops != "fused" or options.prunes or options.draft is not None:
        raise UsageError(
            "pruning, drafts and --ops portable start from a checkpoint; give them to 'edgewhisper build'"
        )
    check_replaceable(output)
    if output.resolve() == Path(artifact).resolve():
        raise UsageError(
            f"{output}: is the fp32 artifact, which would be lost; name another folder for the new one"
        )
    steps = Steps(progress, total=2 + count_steps(plan, options))
    with steps("read the artifact"):
        source = artifact_source(Path(artifact))
    options = replace(options, draft=source.draft)
    need = MemoryNeed(source.dimensions, DraftSize.of_graphs(source.graphs))
    plan = fit_memory(plan, options, need)
    _check_conversion(source, plan, options, artifact)
    steps.total = 2 + count_steps(plan, options)
    weights = sum(info.stat().st_size for info in source.folder.iterdir() if info.is_file())
    check_space(output, weights)
    with disk_errors(output), atomic_folder(output) as folder:
        _finish(source, plan, options, Checks(), folder, steps, need)
    return output


def _check_conversion(source: Source, plan: Plan, options: BuildOptions, artifact: str | Path) -> None:
    """Refuse what would change nothing, and say where rewritten convolutions are in the way."""
    if not plan.is_converted and options.max_ram is None and options.winograd == "auto":
        raise UsageError(f"{artifact}: is fp32 already; give another --precision, such as int8")
    if not source.is_rewritten:
        return
    again = "quantize an artifact that was built with --winograd off"
    if options.winograd != "auto" or options.winograd_table is not None:
        given = "--winograd-table" if options.winograd_table else f"--winograd {options.winograd}"
        raise UsageError(f"{given}: the convolutions of {artifact} are rewritten already; {again}")
    if plan.target == "cuda":
        raise UsageError(
            f"target 'cuda': the convolutions of {artifact} are rewritten for processors; {again}"
        )
    if plan.encoder != "fp32":
        _LOG.warning(
            "%s: its convolutions were rewritten for fp32 and stay in fp32, which is slower than in %s; to have them in %s, %s",
            artifact,
            plan.encoder,
            plan.encoder,
            again,
        )


def _check_inputs(options: BuildOptions) -> None:
    """Raises UsageError, before any work, where a file or folder that the options name cannot be used."""
    if options.winograd_table is not None:
        from edgewhisper.export.winograd.choice import read_table

        read_table(options.winograd_table)
    if options.calibration is not None:
        list_recordings(options.calibration, "--calibration")
    if options.evaluation is not None:
        read_transcripts(options.evaluation)


def _warn_of_half_precision(plan: Plan) -> None:
    if plan.encoder == "fp16" and plan.target != "cuda":
        _LOG.warning(
            "fp16 on %s: saves disk space alone, as a processor computes in fp32; "
            "take --precision int8, or --target cuda for a GPU",
            plan.target,
        )


@dataclass(frozen=True)
class Checks:
    """What is known of the fp32 graphs before they are converted.

    Attributes:
        parity: the comparison with PyTorch.
        pruning: what was removed.
        original: the graphs of the whole model, where what was removed may have changed the text.
    """

    parity: ParityReport | None = None
    pruning: Pruning | None = None
    original: Source | None = None


def _prune(
    checkpoint: Checkpoint,
    choice: "VocabularyChoice | None",
    options: BuildOptions,
    scratch: Path,
    steps: Steps,
) -> tuple[Checkpoint, Pruning | None]:
    """The checkpoint without what the options remove, and how much that was."""
    if not options.prunes:
        return checkpoint, None
    from .pruning import prune_checkpoint_structure, prune_checkpoint_vocabulary

    vocabulary = structure = None
    if choice is not None:
        references = (
            [spoken.text or "" for spoken in read_transcripts(options.evaluation)]
            if options.evaluation
            else []
        )
        with steps("prune the vocabulary"):
            checkpoint, vocabulary = prune_checkpoint_vocabulary(checkpoint, choice, references)
    if options.prune_heads or options.prune_feed_forward:
        graphs = scratch / "whole"
        graphs.mkdir()
        with steps("prune heads and feed-forward units") as advance:
            checkpoint, structure = prune_checkpoint_structure(
                checkpoint,
                options.prune_heads,
                options.prune_feed_forward,
                options.calibration,
                graphs,
                advance,
            )
        shutil.rmtree(graphs)
    return checkpoint, Pruning(vocabulary, structure)


def _finish(
    source: Source,
    plan: Plan,
    options: BuildOptions,
    checks: Checks,
    folder: Path,
    steps: Steps,
    need: MemoryNeed,
    assistant: Source | None = None,
) -> None:
    """From the fp32 graphs to a complete artifact in `folder`."""
    conversion = convert(source, plan, options, folder, steps, need, original=checks.original)
    graphs = dict(conversion.graphs)
    if assistant is not None:
        graphs |= convert_assistant(assistant, conversion, options, folder, steps)
    with steps("write the manifest"):
        copy_vocabulary(source.folder, folder)
        target = plan.target if conversion.plan.targeted else "any"
        write_manifest(
            source.manifest(graphs),
            recorded_options(options, conversion.plan),
            target,
            conversion.calibration_sha256 or _pruned_by(checks.pruning),
            folder,
        )
    # A build that checks nothing needs no ONNX Runtime.
    measures = checks.parity is not None or conversion.gate is not None
    times = _time_convolutions(source, conversion) if measures else None
    write_measurements(
        folder, Measurements(checks.parity, steps.seconds, conversion.gate, checks.pruning, times)
    )


def _time_convolutions(source: Source, conversion: Conversion) -> ConvolutionTime | None:
    """How long rewritten convolutions take on this machine, if the graphs are for its kind and it can run them."""
    plan, encoder = conversion.plan, conversion.graphs["encoder"]
    if plan.target != host_target() and (plan.targeted or plan.target == "cuda"):
        return None
    from .winograd_tuning import time_convolutions

    precision: Literal["fp32", "int8"] = "fp32"
    if plan.encoder == "int8-dynamic" and not source.is_rewritten:
        precision = "int8"
    return time_convolutions(encoder.rewrites, source.dimensions.d_model, precision)


def _fp32_bytes(checkpoint: Checkpoint) -> int:
    return 4 * sum(map(math.prod, expected_shapes(checkpoint.dimensions).values()))


def _pruned_by(pruning: Pruning | None) -> str | None:
    """The checksum of the recordings that decided what was removed."""
    return pruning.structure.calibration_sha256 if pruning and pruning.structure else None


def _pruning_steps(options: BuildOptions) -> int:
    return (options.prune_vocabulary is not None) + bool(options.prune_heads or options.prune_feed_forward)


def _wants_parity(asked: bool | None) -> bool:
    missing = missing_packages()
    if asked and missing:
        raise MissingDependencyError(
            f"the parity check needs {', '.join(missing)}; run 'pip install edgewhisper[cpu,torch]' "
            "or leave out --parity"
        )
    return not missing if asked is None else asked
