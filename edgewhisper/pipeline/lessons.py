"""What a main model says of a corpus, window by window: what its drafts and students learn from."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings
from edgewhisper.bench.corpora.utterance import Corpus, Utterance
from edgewhisper.bench.spreading.job import Engine
from edgewhisper.bench.spreading.local import local_engine
from edgewhisper.errors import AudioError, CorpusError
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import DraftInfo
from edgewhisper.runtime.decoder import Decoder
from edgewhisper.runtime.encoder import CrossKV, Encoder
from edgewhisper.runtime.features import LogMelStream
from edgewhisper.runtime.prompt import previous_text_limit
from edgewhisper.runtime.session import SessionSettings

from .calibration import greedy_text, window_prompt
from .source import Source, export_source

if TYPE_CHECKING:
    from edgewhisper.distill.teacher import Lesson

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


@dataclass(frozen=True)
class Told:
    """What came of a recording.

    Attributes:
        key: its name in the corpus.
        windows: how many there are of it.
        problem: why there is none.
    """

    key: str
    windows: int
    problem: str | None = None


@dataclass(frozen=True)
class Teaching:
    """The main model says what it hears in each window of a recording; a job of `bench.spreading`.

    Attributes:
        source: its graphs.
        info: of the draft that learns from it.
        folder: gets a file for each window; those that are there are kept.
        encoded: keep what the encoder made of a window, for a student, instead of the keys and values that a draft reads.
        threads: of one process; None leaves the number to ONNX Runtime.
    """

    source: Source
    info: DraftInfo
    folder: Path
    encoded: bool = False
    threads: int | None = None
    provider: str = "cpu"

    def with_threads(self, threads: int) -> Self:
        """The same with so many threads."""
        return replace(self, threads=threads)

    def start(self) -> Callable[[Utterance], Told]:
        """The main model, loaded."""
        return _Teacher(self).tell

    def lost(self, utterance: Utterance, problem: str) -> Told:
        """Of a recording whose processes die."""
        return Told(utterance.key, 0, f"{utterance.key}: {problem}")


def gather(
    checkpoint: Checkpoint,
    info: DraftInfo,
    corpus: Corpus,
    choice: Choice,
    folder: Path,
    progress: Callable[[str], None],
    *,
    encoded: bool = False,
    engine: Engine | None = None,
) -> list[Path]:
    """Let the main model transcribe every window of the recordings; returns the files of what it said, in the order of the corpus.

    Files that are there already are kept. A recording that cannot be read is left out, and said to be. `encoded` keeps what the encoder
    made of a window, for a student, instead of the keys and values that a draft reads. `engine` does it; None: this process.

    Raises:
        AudioError: no recording can be read, or none is chosen.
        CorpusError: two recordings have one name.
        EdgeWhisperError: the engine gives up.
        MissingDependencyError: a package that choosing by transcripts needs.
    """
    graphs = folder.absolute() / "graphs"
    graphs.mkdir(parents=True, exist_ok=True)
    is_alike = None if choice.max_wer is None else _alike(checkpoint, choice.max_wer)
    source = export_source(
        checkpoint, graphs, "fused", gives_hidden=info.kind == "heads", gives_encoded=encoded
    )
    job = Teaching(source, info, folder.absolute(), encoded)
    total = corpus.size if choice.most is None else min(choice.most, corpus.size or choice.most)
    of_all = "" if total is None else f" of {total}"
    there = _Said(folder)
    listed: dict[str, tuple[str, str]] = {}  # stamp and transcript
    kept: dict[str, list[Path]] = {}
    counts = [0, 0]  # recordings, windows that are kept

    def asked() -> Iterator[Utterance]:
        for utterance in islice(corpus, choice.most):
            if utterance.key in listed:
                raise CorpusError(f"{corpus.name}: has two recordings called '{utterance.key}'; rename one")
            if is_alike is not None and utterance.text is None:
                progress(f"left out: {utterance.key}: {utterance.problem or 'there is no transcript'}")
                continue
            listed[utterance.key] = stamp, _ = utterance.stamp, utterance.text or ""
            windows = there.windows(stamp)
            if windows is None:
                yield utterance
            else:
                keep(Told(utterance.key, windows))

    def keep(told: Told) -> None:
        stamp, transcript = listed[told.key]
        of_this = [_place(folder, stamp, index) for index in range(told.windows)]
        if told.problem is not None:
            progress(f"left out: {told.problem}")
        elif is_alike is not None and not is_alike(transcript, of_this):
            progress(f"left out: {told.key}: the main model writes something else than its transcript")
        else:
            kept[told.key] = of_this
            counts[1] += told.windows
        counts[0] += 1
        if counts[0] % _TOLD_EVERY == 0 or counts[0] == total:
            progress(f"{counts[0]}{of_all} recordings: {counts[1]} windows")

    with closing((engine or local_engine(1))(job, asked())) as outcomes:
        for told in outcomes:
            if told.problem is None:
                there.add(listed[told.key][0], told.windows)
            keep(told)
    if not kept:
        raise AudioError(f"{corpus.name}: no recording can be learnt from; name another corpus for --data")
    return [path for key in listed for path in kept.get(key, ())]


class _Said:
    """Which recordings are done, so that they are not read again: a line for each, its stamp and how many windows it has."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / "said.tsv"
        self._done: dict[str, int] = {}
        if self._path.exists():
            for line in self._path.read_text().splitlines():
                stamp, _, windows = line.partition("\t")
                if windows.endswith("."):  # else it was killed while it wrote
                    self._done[stamp] = int(windows[:-1])

    def windows(self, stamp: str) -> int | None:
        """Of a recording; None where some are missing."""
        windows = self._done.get(stamp)
        if windows is None or not all(
            _place(self._folder, stamp, index).exists() for index in range(windows)
        ):
            return None
        return windows

    def add(self, stamp: str, windows: int) -> None:
        with self._path.open("a") as file:
            file.write(f"\n{stamp}\t{windows}.")


def _place(folder: Path, stamp: str, index: int) -> Path:
    """The file of a window."""
    return folder / f"{stamp}-{index:04d}.npz"


class _Teacher:
    """The main model, which says what it hears.

    Every other window has timestamps, and of three windows of a long recording two follow what was said before, as in a transcription. What
    is said of a recording depends on that recording alone, so it does not matter which process says it, and when.
    """

    def __init__(self, job: Teaching) -> None:
        settings = SessionSettings(job.provider, job.threads)
        manifest = job.source.manifest()
        self._job = job
        self._encoder = Encoder(job.source.folder, manifest, settings)
        self._decoder = Decoder(job.source.folder, manifest, settings)

    def tell(self, utterance: Utterance) -> Told:
        """Write the files of a recording's windows."""
        from edgewhisper.distill.teacher import read_lesson, write_lesson

        source, stamp = self._job.source, utterance.stamp
        previous: tuple[int, ...] = ()
        index = 0
        try:
            for index, window in enumerate(_windows(utterance, source.audio), 1):
                path = _place(self._job.folder, stamp, index - 1)
                if path.exists():
                    lesson = read_lesson(path)
                else:
                    timestamps = (zlib.crc32(utterance.key.encode()) + index) % 2 == 0
                    lesson = self._say(window, timestamps, previous if index % 3 != 1 else ())
                    write_lesson(lesson, path)
                previous = spoken_tokens(lesson, source.tokens.end_of_text)
        except AudioError as error:
            return Told(utterance.key, 0, str(error))
        return Told(utterance.key, index)

    def _say(self, window: NDArray[np.float32], timestamps: bool, previous: tuple[int, ...]) -> "Lesson":
        from edgewhisper.distill.teacher import Lesson, likeliest_tokens

        source, decoder = self._job.source, self._decoder
        cross = self._encoder.run(window)
        prompt = window_prompt(source, decoder, cross, timestamps=timestamps)
        if previous:
            kept = previous[-previous_text_limit(source.dimensions) :]
            prompt = (source.tokens.start_of_previous, *kept, *prompt)
        text = greedy_text(source, decoder, cross, prompt, timestamps=timestamps)
        tokens = [*prompt, *text, source.tokens.end_of_text][
            : decoder.max_length
        ]  # with the end where there is room
        decoder.reset(cross)
        likeliest, logprobs = likeliest_tokens(decoder.run(tokens))
        hidden = None if decoder.hidden is None else decoder.hidden.astype(np.float16)
        encoded = _half(cross, "hidden") if self._job.encoded else None
        pairs = tuple(
            (_half(cross, f"past_key_cross_{layer}"), _half(cross, f"past_value_cross_{layer}"))
            for layer in (() if self._job.encoded else self._job.info.cross_layers)
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
