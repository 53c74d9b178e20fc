"""What a main model says of a corpus, window by window: what its drafts and students learn from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings
from edgewhisper.bench.corpora.utterance import Corpus, Utterance
from edgewhisper.errors import AudioError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import DraftInfo
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.features import LogMelStream
from edgewhisper.runtime.prompt import previous_text_limit
from edgewhisper.runtime.session import SessionSettings

from .calibration import greedy_text, window_prompt
from .source import export_source

if TYPE_CHECKING:
    from edgewhisper.distill.teacher import Lesson

# Every so many windows follows previous text; odd, as every other window has timestamps.
PREVIOUS_EVERY = 5
_TOLD_EVERY = 100


@dataclass(frozen=True)
class Choice:
    """Which recordings of a corpus are learnt from.

    Attributes:
        most: how many at most; None: all.
        max_wer: of what the main model writes, against the transcript; None: whatever it writes.
    """

    most: int | None = None
    max_wer: float | None = None


def gather(
    checkpoint: Checkpoint,
    info: DraftInfo,
    corpus: Corpus,
    choice: Choice,
    folder: Path,
    progress: Callable[[str], None],
    *,
    encoded: bool = False,
) -> list[Path]:
    """Let the main model transcribe every window of the recordings; returns the files of what it said.

    Files that are there already are kept. A recording that cannot be read is left out, and said to be. `encoded` keeps what the encoder
    made of a window, for a student, instead of the keys and values that a draft reads.

    Raises:
        AudioError: no recording can be read, or none is chosen.
        MissingDependencyError: a package that choosing by transcripts needs.
    """
    graphs = folder / "graphs"
    graphs.mkdir(parents=True, exist_ok=True)
    teacher = _Teacher(checkpoint, info, graphs, encoded)
    is_alike = None if choice.max_wer is None else _alike(checkpoint, choice.max_wer)
    total = corpus.size if choice.most is None else min(choice.most, corpus.size or choice.most)
    lessons: list[Path] = []
    for number, utterance in enumerate(islice(corpus, choice.most)):
        if number % _TOLD_EVERY == 0:
            of_all = "" if total is None else f" of {total}"
            progress(f"recording {number + 1}{of_all}: {len(lessons)} windows so far")
        if is_alike is not None and utterance.text is None:
            progress(f"left out: {utterance.key}: {utterance.problem or 'there is no transcript'}")
            continue
        try:
            of_this = list(teacher.lessons(utterance, len(lessons), folder))
        except AudioError as error:
            progress(f"left out: {error}")
            continue
        if is_alike is not None and not is_alike(utterance.text or "", of_this):
            progress(f"left out: {utterance.key}: the main model writes something else than its transcript")
            continue
        lessons += of_this
    if not lessons:
        raise AudioError(f"{corpus.name}: no recording can be learnt from; name another corpus for --data")
    return lessons


class _Teacher:
    """The main model, which says what it hears."""

    def __init__(self, checkpoint: Checkpoint, info: DraftInfo, graphs: Path, encoded: bool) -> None:
        self._info, self._gives_encoded = info, encoded
        self._source = export_source(
            checkpoint, graphs, "fused", gives_hidden=info.kind == "heads", gives_encoded=encoded
        )
        manifest = self._source.manifest()
        self._encoder = Encoder(self._source.folder, manifest, SessionSettings())
        self._decoder = Decoder(self._source.folder, manifest, SessionSettings())
        self._previous: tuple[int, ...] = ()

    def lessons(self, utterance: Utterance, before: int, folder: Path) -> Iterator[Path]:
        """The files of a recording's windows, `before` of which were there before it.

        Raises:
            AudioError: it cannot be read.
        """
        from edgewhisper.distill.teacher import read_lesson, write_lesson

        ids = self._source.tokens
        for index, window in enumerate(_windows(utterance, self._source.audio)):
            path = folder / f"{utterance.stamp}-{index:04d}.npz"
            if path.exists():
                lesson = read_lesson(path)
            else:
                lesson = self._say(window, before + index + 1)
                write_lesson(lesson, path)
            self._previous = spoken_tokens(lesson, ids.end_of_text)
            yield path

    def _say(self, window: NDArray[np.float32], count: int) -> "Lesson":
        from edgewhisper.distill.teacher import Lesson, likeliest_tokens

        source, decoder = self._source, self._decoder
        cross = self._encoder.run(window)
        timestamps = count % 2 == 1
        prompt = window_prompt(source, decoder, cross, timestamps=timestamps)
        if count % PREVIOUS_EVERY == 0 and self._previous:
            kept = self._previous[-previous_text_limit(source.dimensions) :]
            prompt = (source.tokens.start_of_previous, *kept, *prompt)
        text = greedy_text(source, decoder, cross, prompt, timestamps=timestamps)
        tokens = [*prompt, *text, source.tokens.end_of_text][
            : decoder.max_length
        ]  # with the end where there is room
        decoder.reset(cross)
        likeliest, logprobs = likeliest_tokens(decoder.run(tokens))
        hidden = None if decoder.hidden is None else decoder.hidden.astype(np.float16)
        encoded = _half(cross, "hidden") if self._gives_encoded else None
        pairs = tuple(
            (_half(cross, f"past_key_cross_{layer}"), _half(cross, f"past_value_cross_{layer}"))
            for layer in (() if self._gives_encoded else self._info.cross_layers)
        )
        return Lesson(pairs, np.array(tokens, np.int32), len(prompt), likeliest, logprobs, hidden, encoded)


def spoken_tokens(lesson: "Lesson", end_of_text: int) -> tuple[int, ...]:
    """The text of a window without timestamps."""
    return tuple(token for token in lesson.tokens[lesson.first :].tolist() if token < end_of_text)


def _alike(checkpoint: Checkpoint, max_wer: float) -> Callable[[str, list[Path]], bool]:
    """Whether the main model's text of a recording is its transcript, but for some words; after Distil-Whisper, arXiv 2311.00430."""
    from edgewhisper.distill.teacher import read_lesson

    from .text_gate import require_scoring

    require_scoring()
    from edgewhisper.bench.scoring import error_rate, normalise

    ids, pieces = checkpoint.token_ids, checkpoint.vocabulary.tokens

    def compare(transcript: str, paths: list[Path]) -> bool:
        said = b"".join(
            pieces[token] for path in paths for token in spoken_tokens(read_lesson(path), ids.end_of_text)
        ).decode("utf-8", "replace")
        if not normalise(transcript):
            return not normalise(said)
        return error_rate([transcript], [said]).wer <= max_wer

    return compare


def _half(cross: CrossKV, name: str) -> NDArray[np.float16]:
    return np.asarray(cross.values[name].numpy()[0], np.float16)


def _windows(utterance: Utterance, audio: AudioSettings) -> Iterator[NDArray[np.float32]]:
    """The recording in windows one after another, [n_mels, n_frames]; the last one is padded."""
    with utterance.open(audio.sample_rate) as stream:
        features = LogMelStream(stream, audio)
        frame = 0
        while frame == 0 or not (features.is_single_window or features.ended(frame)):
            yield features.window(frame, audio.n_frames)[0]
            frame += audio.n_frames
