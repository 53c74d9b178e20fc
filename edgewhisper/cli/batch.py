"""`edgewhisper transcribe --batch`: recordings together."""

import contextlib
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from edgewhisper.errors import AudioError
from edgewhisper.runtime.options import DecodingOptions, Segment
from edgewhisper.runtime.writers import WRITERS

from .outputs import STANDARD_INPUT, open_output
from .summary import Totals, describe_info, describe_segment

if TYPE_CHECKING:
    from edgewhisper.runtime.audio import AudioStream
    from edgewhisper.runtime.pcm import RawFormat
    from edgewhisper.runtime.transcriber import Transcriber, Transcript


def open_source(source: str, raw: "RawFormat | None", transcriber: "Transcriber") -> "AudioStream":
    """Open a recording by its path, or standard input.

    Raises:
        AudioError: it cannot be read.
    """
    from edgewhisper.runtime.audio import open_audio

    if source == STANDARD_INPUT and sys.stdin is None:  # as in `edgewhisper ... <&-`
        raise AudioError("standard input is closed; pipe a recording into it, or name a file")
    file = sys.stdin.buffer if source == STANDARD_INPUT else source
    return open_audio(file, raw=raw, target_rate=transcriber.manifest.audio.sample_rate)


def described(segments: Iterable[Segment]) -> Iterator[Segment]:
    """The segments, each described on standard error."""
    for segment in segments:
        print(describe_segment(segment), file=sys.stderr)
        yield segment


def transcribe_together(
    transcriber: "Transcriber",
    audio: Sequence[str],
    raw: "RawFormat | None",
    options: DecodingOptions,
    batch: Literal["auto"] | int,
    targets: Sequence[Path | None],
    extension: str,
    totals: Totals,
    verbose: bool,
) -> bool:
    """Transcribe recordings and write their text; returns whether one could not be read.

    Raises:
        AudioError: the only recording cannot be read.
    """
    from tqdm import tqdm

    started, failed = time.perf_counter(), False
    openers = (partial(open_source, source, raw, transcriber) for source in audio)
    # On standard output texts come in the order of the recordings, files are written as they are complete.
    transcripts = transcriber.transcribe_batch(openers, options, batch=batch, ordered=None in targets)
    bar = tqdm(transcripts, total=len(audio), unit="recording", disable=None, leave=False)
    with contextlib.closing(cast("Generator[Transcript]", transcripts)):
        for transcript in bar:
            target, info = targets[transcript.index], transcript.info
            segments = described(transcript.segments) if verbose else transcript.segments
            if info is not None and (transcript.error is None or target is None):
                with bar.external_write_mode(file=sys.stdout), open_output(target) as output:
                    WRITERS[extension](segments, info, output)
            now = time.perf_counter()
            if transcript.error is not None:
                if len(audio) == 1:
                    raise transcript.error
                failed = True
                with bar.external_write_mode(file=sys.stderr):
                    print(f"edgewhisper: error: {transcript.error}", file=sys.stderr)
            elif info is not None:
                totals.add(info, now - started)
                if verbose:
                    print(f"{audio[transcript.index]}: {describe_info(info)}", file=sys.stderr)
            started = now
    return failed
