"""A recording on its way to a result."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from edgewhisper.bench.corpora.utterance import Utterance
from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcriber import Transcriber

from .results import Result


@dataclass(frozen=True)
class Task:
    """How a corpus is transcribed; a job of `bench.spreading`.

    Attributes:
        artifact: its folder.
        options: of decoding.
        language: of every recording; None: as the corpus states it, else as the model hears it.
        threads: of one process; None leaves the number to ONNX Runtime.
        provider: see `Transcriber`.
    """

    artifact: Path
    options: DecodingOptions
    language: str | None = None
    threads: int | None = None
    provider: str = "cpu"

    def with_threads(self, threads: int) -> Self:
        """The same with so many threads."""
        return replace(self, threads=threads)

    def start(self) -> Callable[[Utterance], Result]:
        """The artifact, loaded; raises what `Transcriber` raises."""
        transcriber = Transcriber(self.artifact, self.provider, self.threads)
        return lambda utterance: _transcribe(transcriber, self, utterance)

    def lost(self, utterance: Utterance, problem: str) -> Result:
        """The result of a recording whose processes die."""
        return Result(
            utterance.key, utterance.stamp, utterance.text, None, utterance.language, problem=problem
        )


def _transcribe(transcriber: Transcriber, task: Task, utterance: Utterance) -> Result:
    """One recording; what is wrong with it is part of the result."""
    result = Result(
        utterance.key, utterance.stamp, utterance.text, None, utterance.language, problem=utterance.problem
    )
    if utterance.audio is None:
        return result
    language = task.language or _known(transcriber, utterance.language)
    result = replace(result, spoken=utterance.language)
    started = time.perf_counter()
    try:
        with utterance.open(transcriber.manifest.audio.sample_rate) as stream:
            segments, info = transcriber.transcribe(stream, replace(task.options, language=language))
            found = list(segments)
    except EdgeWhisperError as error:
        return replace(result, problem=str(error))
    return replace(
        result,
        text="".join(segment.text for segment in found).strip(),
        language=info.language,
        tokens=tuple(token for segment in found for token in segment.tokens),
        audio=round(info.processed, 3),
        seconds=round(time.perf_counter() - started, 4),
    )


def _known(transcriber: Transcriber, language: str | None) -> str | None:
    """A corpus' language where the model has it: "de", or "de" of "de-AT"."""
    short = short_code(language)
    return short if short in transcriber.manifest.tokens.languages else None


def short_code(language: str | None) -> str | None:
    """The code of a language without its region: "de" of "de-AT"."""
    return None if language is None else language.lower().partition("-")[0].partition("_")[0]
