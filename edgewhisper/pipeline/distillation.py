"""Distillation: a main model transcribes recordings, a draft or a student learns to say the same."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from edgewhisper.atomic import atomic_folder
from edgewhisper.bench.corpora.open import open_corpus
from edgewhisper.bench.spreading.job import Engine
from edgewhisper.errors import MissingDependencyError, UsageError
from edgewhisper.models.draft import DESCRIPTION, SHORTLIST, WEIGHTS, Draft, initial_draft, write_draft
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.student import DESCRIPTION as STUDENT
from edgewhisper.models.student import FILES, Distilled, initial_student, usual_layers, write_student

from .lessons import Choice, gather
from .output_folder import disk_errors

# Every so many windows is held out, to measure acceptance on.
HELD_OUT_EVERY = 21

Device = Literal["auto", "cpu", "cuda"]


def distill(
    model: str | Path,
    kind: Distilled,
    layers: int | None,
    data: str | Path,
    output: Path,
    work: Path,
    steps: int,
    progress: Callable[[str], None] = lambda line: None,
    *,
    most: int | None = None,
    max_wer: float | None = None,
    engine: Engine | None = None,
    batch: int = 32,
    device: Device = "auto",
) -> Path:
    """Train a draft or a student that shares the encoder of a main model, and write its folder.

    Args:
        model: what `models.reader.read_checkpoint` reads.
        kind: of draft, see `models.draft`, or "student", see `models.student`.
        layers: of the draft's or student's decoder; None: one, and half of the main decoder's.
        data: recordings, with or without transcripts; what `bench.corpora.open.open_corpus` reads.
        output: its folder; replaced when the new one is complete.
        work: what the main model said, and the training's state: goes on there after an interruption.
        steps: of training.
        progress: told in lines of text.
        most: recordings to learn on; None: all. A data set on the hub is read no further.
        max_wer: leave out recordings of which the main model writes something else than their transcript by more than this word error
            rate, such as 0.1; those without a transcript too. None: none.
        engine: what lets the main model transcribe; None: this process.
        batch: windows of a step.
        device: what trains; "auto": an NVIDIA GPU where there is one.

    Raises:
        UsageError: the options cannot be used, or there is no such device.
        CorpusError: the recordings are not there.
        CheckpointError: the model cannot be read.
        AudioError: no recording can be read.
        MissingDependencyError: PyTorch.
    """
    try:
        from edgewhisper.distill.draft_training import DraftTraining, train_draft
        from edgewhisper.distill.teacher import frequent_tokens
    except ImportError as error:
        raise MissingDependencyError(
            f"distillation needs the package '{error.name}'; run 'pip install edgewhisper[build,cpu,torch]'"
        ) from None
    device = _device(device)
    check_output(output, data, work)
    corpus = open_corpus(data)
    checkpoint = read_checkpoint(model)
    if layers is None:
        layers = usual_layers(checkpoint) if kind == "student" else 1
    if kind == "student":
        draft = initial_student(checkpoint, layers)
    else:
        draft = initial_draft(checkpoint, kind, layers)
    # What was done for another model, other recordings or another draft is not gone on with.
    main = checkpoint.model.checkpoint_sha256
    reads = "encoded" if kind == "student" else (draft.info.kind, draft.info.cross_layers)
    said = _key(main, reads, corpus.place)
    choice = Choice(most, max_wer)
    folder = work / f"lessons-{said}"
    lessons = gather(
        checkpoint, draft.info, corpus, choice, folder, progress, encoded=kind == "student", engine=engine
    )
    held_out = lessons[::HELD_OUT_EVERY]
    learnt = [path for index, path in enumerate(lessons) if index % HELD_OUT_EVERY]
    if not learnt:
        raise UsageError(f"{data}: {len(lessons)} windows of recordings are too few; give more")
    tokens = draft.info.tokens
    if kind != "student":
        ids = checkpoint.token_ids
        always = [ids.end_of_text, *range(ids.timestamp_begin, checkpoint.dimensions.vocab_size)]
        tokens = frequent_tokens(learnt, always, SHORTLIST)
        draft = Draft(replace(draft.info, tokens=tokens), draft.tensors)
    training = (
        work / f"training-{_key(said, kind, layers, steps, batch, tokens, [path.name for path in lessons])}"
    )
    training.mkdir(parents=True, exist_ok=True)
    draft = train_draft(
        checkpoint, draft, learnt, held_out, DraftTraining(kind, steps, batch=batch, device=device), training,
        lambda point: progress(
            f"step {point.step} of {steps}, {point.seconds:.0f} s: loss {point.loss:.3f}, "
            f"acceptance {100 * point.acceptance:.1f} % on held-out windows"
        ),
    )  # fmt: skip
    with disk_errors(output), atomic_folder(output) as folder:
        if kind == "student":
            write_student(checkpoint, draft, folder)
        else:
            write_draft(draft, folder)
    return output


def _device(asked: Device) -> Literal["cpu", "cuda"]:
    import torch

    if asked == "cpu" or (asked == "auto" and not torch.cuda.is_available()):
        return "cpu"
    if not torch.cuda.is_available():
        raise UsageError(
            "--device cuda: PyTorch sees no NVIDIA GPU; install a PyTorch with CUDA, or use --device cpu"
        )
    return "cuda"


def check_output(output: Path, data: str | Path, work: Path) -> None:
    """Check that nothing but a draft or a student is lost where the new one goes.

    Raises:
        UsageError: `output` is a file, a folder that holds something else, or holds the recordings or the work folder.
    """
    inside = [Path(path).resolve() for path in (data, work)]
    if any(output.resolve() in (path, *path.parents) for path in inside):
        raise UsageError(
            f"{output}: holds the recordings or the work folder; name another folder for what is trained"
        )
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output}: is not a folder; name another for what is trained")
    found = {path.name for path in output.iterdir()} if output.is_dir() else set()
    is_student = STUDENT in found and not found - FILES
    if found - {DESCRIPTION, WEIGHTS} and not is_student:
        raise UsageError(f"{output}: exists and is neither a draft nor a student; name another folder")


def _key(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
