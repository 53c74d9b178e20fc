"""Makes the bundled demo model from nothing: `python -m edgewhisper.distill.demo --work-dir DIRECTORY`.

Every step skips what is already done in the work directory, and synthesis and training go on where they were
interrupted: after a `kill -9`, run the same command again. Needs espeak-ng, 8 GB of disk and 6 GB of memory.
"""

import argparse
import platform
import shutil
import sys
from pathlib import Path

import torch

from edgewhisper.errors import EdgeWhisperError, UsageError

from . import corpus, espeak
from .bundle import write_bundle
from .card import TrainingRecord
from .evaluation import evaluate, read_report, write_report
from .evaluation_set import write_evaluation_set
from .features import FRAMES_PER_SECOND
from .model_files import write_model
from .tokenizer import train_tokenizer
from .trainer import TrainingOptions, training_state
from .training import train

_STEPS = 7500
_SHARDS = 80
_PROCESSES = 2
BUNDLE = Path(__file__).parents[1] / "models" / "demo"


def make_demo_model(work: Path, bundle: Path, steps: int, shards: int, processes: int) -> None:
    """Synthesises, trains, evaluates and bundles; prints the card's figures at the end."""
    if steps < 1 or shards < 1 or processes < 1:
        raise UsageError("--steps, --shards and --processes must be at least 1")
    tokenizer, state, model = work / "tokenizer", work / "training", work / "model"
    evaluation, report_file = work / "evaluation", work / "report.json"
    work.mkdir(parents=True, exist_ok=True)
    corpus.synthesise(work / "corpus", shards, processes)
    if not tokenizer.exists():
        partial = work / "tokenizer.partial"
        shutil.rmtree(partial, ignore_errors=True)
        train_tokenizer(partial)
        partial.rename(tokenizer)
    if not model.exists():
        train(work / "corpus", tokenizer, state, TrainingOptions(steps), processes)
        write_model(training_state(state), tokenizer, model)
    if not evaluation.exists():
        write_evaluation_set(evaluation)
    if not report_file.exists():
        write_report(evaluate(model, evaluation), report_file)
    record = _record(work / "corpus", state, processes)
    write_bundle(model, evaluation, read_report(report_file), record, bundle)
    print((bundle / "CARD.md").read_text())


def _record(corpus_directory: Path, state_directory: Path, processes: int) -> TrainingRecord:
    state = torch.load(training_state(state_directory), weights_only=True)
    recordings = corpus.load(corpus_directory)
    frames = sum(len(recording.features.frames) for recording in recordings)
    return TrainingRecord(
        parameters=sum(
            tensor.numel() for name, tensor in state["model"].items() if name != "proj_out.weight"
        ),
        hours=frames / FRAMES_PER_SECOND / 3600,
        recordings=len(recordings),
        espeak_ng=espeak.version(),
        steps=state["step"],
        minutes=state["seconds"] / 60,
        processes=processes,
        machine=_processor(),
    )


def _processor() -> str:
    """The processor's name as Linux knows it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edgewhisper.distill.demo", description=__doc__)
    parser.add_argument(
        "--work-dir", type=Path, required=True, help="where corpus, checkpoints and figures go"
    )
    parser.add_argument(
        "--output", type=Path, default=BUNDLE, help="the finished model (default: the bundled one)"
    )
    parser.add_argument("--steps", type=int, default=_STEPS, help="training steps (default: %(default)s)")
    parser.add_argument(
        "--shards", type=int, default=_SHARDS, help="shards of 37 minutes (default: %(default)s)"
    )
    parser.add_argument(
        "--processes", type=int, default=_PROCESSES, help="cores to use (default: %(default)s)"
    )
    arguments = parser.parse_args()
    # So small a model gains nothing from more threads, and on a busy machine they wait for each other most of the time.
    torch.set_num_threads(1)
    try:
        make_demo_model(
            arguments.work_dir, arguments.output, arguments.steps, arguments.shards, arguments.processes
        )
    except EdgeWhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())
