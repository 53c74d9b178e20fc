"""Distillation: a main model transcribes recordings, a draft or a student learns to say the same."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings
from edgewhisper.atomic import atomic_folder
from edgewhisper.errors import AudioError, MissingDependencyError, UsageError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import (
    DESCRIPTION,
    SHORTLIST,
    WEIGHTS,
    Draft,
    DraftInfo,
    initial_draft,
    write_draft,
)
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.student import DESCRIPTION as STUDENT
from edgewhisper.models.student import FILES, Distilled, initial_student, write_student
from edgewhisper.runtime.audio import open_audio
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.features import LogMelStream
from edgewhisper.runtime.prompt import previous_text_limit
from edgewhisper.runtime.session import SessionSettings

from .calibration import greedy_text, window_prompt
from .output_folder import disk_errors
from .recordings import checksums, list_recordings
from .source import Source, export_source

if TYPE_CHECKING:
    from edgewhisper.distill.teacher import Lesson

# Every so many windows is held out, to measure acceptance on; an odd number, as every other window has timestamps.
HELD_OUT_EVERY = 21
# Every so many windows follows previous text; odd, as every other window has timestamps.
PREVIOUS_EVERY = 5


def distill(
    model: str | Path,
    kind: Distilled,
    layers: int | None,
    data: Path,
    output: Path,
    work: Path,
    steps: int,
    progress: Callable[[str], None] = lambda line: None,
) -> Path:
    """Train a draft or a student that shares the encoder of a main model, and write its folder.

    Args:
        model: what `models.reader.read_checkpoint` reads.
        kind: of draft, see `models.draft`, or "student", see `models.student`.
        layers: of the draft's or student's decoder; None: one, and half of the main decoder's.
        data: a folder of recordings.
        output: its folder; replaced when the new one is complete.
        work: what the main model said, and the training's state: goes on there after an interruption.
        steps: of training.
        progress: told in lines of text.

    Raises:
        UsageError: the options cannot be used.
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
    check_output(output, data, work)
    recordings = list_recordings(data, "--data", most=None)
    checkpoint = read_checkpoint(model)
    if layers is None:
        layers = max(1, checkpoint.dimensions.decoder_layers // 2) if kind == "student" else 1
    if kind == "student":
        draft = initial_student(checkpoint, layers)
    else:
        draft = initial_draft(checkpoint, kind, layers)
    # What was done for another model, other recordings or another draft is not gone on with.
    said = _key(
        checkpoint.model.checkpoint_sha256, draft.info.kind, draft.info.cross_layers, *checksums(recordings)
    )
    lessons = gather(checkpoint, draft.info, recordings, work / f"lessons-{said}", progress)
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
    training = work / f"training-{_key(said, kind, layers, steps, tokens)}"
    training.mkdir(parents=True, exist_ok=True)
    draft = train_draft(
        checkpoint, draft, learnt, held_out, DraftTraining(kind, steps), training,
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


def check_output(output: Path, data: Path, work: Path) -> None:
    """Check that nothing but a draft or a student is lost where the new one goes.

    Raises:
        UsageError: `output` is a file, a folder that holds something else, or holds the recordings or the work folder.
    """
    inside = [path.resolve() for path in (data, work)]
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


def gather(
    checkpoint: Checkpoint,
    info: DraftInfo,
    recordings: list[Path],
    folder: Path,
    progress: Callable[[str], None],
) -> list[Path]:
    """Let the main model transcribe every window of the recordings; returns the files of what it said.

    Files that are there already are kept. A recording that cannot be read is left out, and said to be.
    """
    from edgewhisper.distill.teacher import Lesson, likeliest_tokens, read_lesson, write_lesson

    graphs = folder / "graphs"
    graphs.mkdir(parents=True, exist_ok=True)
    source = export_source(checkpoint, graphs, "fused", gives_hidden=info.kind == "heads")
    manifest = source.manifest()
    encoder = Encoder(source.folder, manifest, SessionSettings())
    decoder = Decoder(source.folder, manifest, SessionSettings())
    lessons: list[Path] = []
    previous: tuple[int, ...] = ()
    for number, recording in enumerate(recordings):
        if number % 100 == 0:
            progress(f"recording {number + 1} of {len(recordings)}: {len(lessons)} windows so far")
        try:
            for index, window in enumerate(_windows(recording, source.audio)):
                path = folder / f"{number:06d}-{index:04d}.npz"
                lessons.append(path)
                if path.exists():
                    previous = _text_of(read_lesson(path), source)
                    continue
                count = len(lessons)
                cross = encoder.run(window)
                timestamps = count % 2 == 1
                prompt = window_prompt(source, decoder, cross, timestamps=timestamps)
                if count % PREVIOUS_EVERY == 0 and previous:
                    kept = previous[-previous_text_limit(source.dimensions) :]
                    prompt = (source.tokens.start_of_previous, *kept, *prompt)
                text = greedy_text(source, decoder, cross, prompt, timestamps=timestamps)
                tokens, logits = _reread(source, decoder, cross, prompt, text)
                hidden = None if decoder.hidden is None else decoder.hidden.astype(np.float16)
                likeliest, logprobs = likeliest_tokens(logits)
                pairs = tuple(
                    (_half(cross, f"past_key_cross_{layer}"), _half(cross, f"past_value_cross_{layer}"))
                    for layer in info.cross_layers
                )
                lesson = Lesson(pairs, np.array(tokens, np.int32), len(prompt), likeliest, logprobs, hidden)
                write_lesson(lesson, path)
                previous = _text_of(lesson, source)
        except AudioError as error:
            progress(f"left out: {error}")
    if not lessons:
        raise AudioError("no recording can be read; name another folder for --data")
    return lessons


def _text_of(lesson: "Lesson", source: Source) -> tuple[int, ...]:
    """The text of a window without timestamps."""
    return tuple(
        token for token in lesson.tokens[lesson.first :].tolist() if token < source.tokens.end_of_text
    )


def _reread(
    source: Source, decoder: Decoder, cross: CrossKV, prompt: tuple[int, ...], text: tuple[int, ...]
) -> tuple[list[int], NDArray[np.float32]]:
    """All tokens, with end of text where there is room, and the logits after each of them."""
    tokens = [*prompt, *text, source.tokens.end_of_text][: decoder.max_length]
    decoder.reset(cross)
    return tokens, decoder.run(tokens)


def _half(cross: CrossKV, name: str) -> NDArray[np.float16]:
    return np.asarray(cross.values[name].numpy()[0], np.float16)


def _windows(recording: Path, audio: AudioSettings) -> Iterator[NDArray[np.float32]]:
    """The recording in windows one after another, [n_mels, n_frames]; the last one is padded."""
    with open_audio(recording, target_rate=audio.sample_rate) as stream:
        features = LogMelStream(stream, audio)
        frame = 0
        while frame == 0 or not (features.is_single_window or features.ended(frame)):
            yield features.window(frame, audio.n_frames)[0]
            frame += audio.n_frames
