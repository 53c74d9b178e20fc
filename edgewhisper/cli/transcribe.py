"""`edgewhisper transcribe`: recordings become text."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgewhisper.errors import AudioError
from edgewhisper.runtime.options import DecodingOptions, Task, TranscriptionInfo, Window
from edgewhisper.runtime.session import PROVIDERS
from edgewhisper.runtime.writers import WRITERS

from .batch import described, open_source, transcribe_together
from .decoding_options import (
    artifact_option,
    language_option,
    low_memory_option,
    max_ram_option,
    speculate_option,
    task_option,
    threads_option,
    window_option,
)
from .outputs import open_output, plan_outputs
from .parameters import FolderPath, parse_batch, parse_raw_format, parse_settings
from .progress import Progress
from .summary import Totals, describe_info

if TYPE_CHECKING:
    from edgewhisper.runtime.pcm import RawFormat
    from edgewhisper.runtime.transcriber import Transcriber


@click.command(short_help="Turn recordings into text.")
@click.argument("audio", nargs=-1, required=True)
@artifact_option()
@click.option(
    "--format",
    "extension",
    type=click.Choice(list(WRITERS)),
    default="txt",
    show_default=True,
    help="What is written.",
)
@click.option(
    "-o",
    "--output",
    type=FolderPath(),
    metavar="DIR",
    help="Write a file per recording here, not to standard output.",
)
@click.option("--overwrite", is_flag=True, help="Replace transcripts that are already in the -o folder.")
@language_option
@task_option
@click.option(
    "--timestamps/--no-timestamps",
    default=True,
    show_default=True,
    help="Let the model place segments in time.",
)
@click.option(
    "--initial-prompt",
    metavar="TEXT",
    help="Text before the recording: names and words to expect, or a style.",
)
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    multiple=True,
    help="Sampling temperature; more than one are tried in turn, as by default 0, 0.2 ... 1. Just 0 never retries.",
)
@click.option(
    "--condition-on-previous-text", is_flag=True, help="Give each window the text so far. Can repeat errors."
)
@speculate_option
@click.option(
    "--allow-inexact",
    is_flag=True,
    help="Let auto guess also where that may change a token: on GPUs and with dynamic INT8.",
)
@window_option
@click.option(
    "--batch",
    callback=parse_batch,
    default="1",
    show_default=True,
    metavar="auto|N",
    help="Windows of all recordings decoded at once, 16 at most. auto: as many as fit the memory.",
)
@click.option(
    "--raw",
    callback=parse_raw_format,
    metavar="ENCODING:RATE[:CHANNELS]",
    help="Read samples without a header, e.g. s16le:16000:1.",
)
@threads_option
@click.option(
    "--provider",
    type=click.Choice(list(PROVIDERS)),
    default="cpu",
    show_default=True,
    help="What runs the graphs.",
)
@click.option(
    "--provider-option",
    "provider_options",
    callback=parse_settings,
    multiple=True,
    metavar="KEY=VALUE",
    help="An option of the provider; may be given again.",
)
@low_memory_option
@max_ram_option
@click.option(
    "--verify", is_flag=True, help="Check the artifact's checksums even if they were checked before."
)
@click.option(
    "-v", "--verbose", is_flag=True, help="Say more on standard error: language, segments, where time went."
)
@click.pass_context
def transcribe(
    context: click.Context,
    audio: Sequence[str],
    artifact: Path,
    extension: str,
    output: Path | None,
    overwrite: bool,
    language: str | None,
    task: Task,
    timestamps: bool,
    initial_prompt: str | None,
    temperature: Sequence[float],
    condition_on_previous_text: bool,
    speculate: Literal["auto", "off"] | int,
    allow_inexact: bool,
    window: Window,
    batch: Literal["auto"] | int,
    raw: "RawFormat | None",
    threads: int | None,
    provider: str,
    provider_options: dict[str, str],
    low_memory: bool,
    max_ram: int | None,
    verify: bool,
    verbose: bool,
) -> None:
    """Turn the recordings AUDIO... into text; '-' is standard input.

    Text is written as it is decoded, progress and a closing line go to standard error. Read without further programs:
    WAV, FLAC, Ogg, MP3 and what else libsndfile knows, at any rate and number of channels. M4A, AAC, WebM, AMR and video
    need ffmpeg. Of several recordings, one that cannot be read does not stop the others; the exit code is then 1.

    \b
    Examples:
      edgewhisper transcribe speech.flac -a artifacts/demo
      edgewhisper transcribe *.wav -a artifacts/demo --format srt -o subtitles
      edgewhisper transcribe talk.mp3 -a artifacts/base --language de --task translate
      arecord -f S16_LE -r 16000 -t raw | edgewhisper transcribe - --raw s16le:16000 -a artifacts/demo
    """
    options = DecodingOptions(
        language=language,
        task=task,
        timestamps=timestamps,
        temperature=temperature or DecodingOptions.temperature,
        initial_prompt=initial_prompt,
        condition_on_previous_text=condition_on_previous_text,
        speculate=speculate,
        allow_inexact=allow_inexact,
        window=window,
    )
    targets = plan_outputs(audio, output, extension, overwrite)

    from edgewhisper.runtime.transcriber import Transcriber

    transcriber = Transcriber(artifact, provider, threads, provider_options, verify, low_memory, max_ram)
    totals = Totals()
    if batch == 1:
        failed = False
        for source, target in zip(audio, targets, strict=True):
            started = time.perf_counter()
            try:
                info = _transcribe_one(transcriber, source, raw, options, target, extension, verbose)
            except AudioError as error:
                if len(audio) == 1:
                    raise
                failed = True
                print(f"edgewhisper: error: {error}", file=sys.stderr)
            else:
                totals.add(info, time.perf_counter() - started)
    else:
        failed = transcribe_together(
            transcriber, audio, raw, options, batch, targets, extension, totals, verbose
        )
    print(totals.closing_line(), file=sys.stderr)
    if failed:
        context.exit(1)


def _transcribe_one(
    transcriber: "Transcriber",
    source: str,
    raw: "RawFormat | None",
    options: DecodingOptions,
    target: Path | None,
    extension: str,
    verbose: bool,
) -> TranscriptionInfo:
    stream = open_source(source, raw, transcriber)
    with stream, Progress(stream.name, stream.duration) as progress:
        segments, info = transcriber.transcribe(stream, options, on_progress=progress.update)
        segments = progress.make_room(segments)
        if verbose:
            segments = described(segments)
        with open_output(target) as output:
            WRITERS[extension](segments, info, output)
    if verbose:
        print(f"{stream.name}: {describe_info(info)}", file=sys.stderr)
    return info
