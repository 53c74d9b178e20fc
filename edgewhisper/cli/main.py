"""The command `edgewhisper`: its sub-commands, and how errors become one line and an exit code.

Exit codes: 0 done, 1 a failure, 2 a usage that cannot be meant, 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass

import click

from edgewhisper import __version__
from edgewhisper.errors import EdgeWhisperError

from .bench import bench
from .build import build
from .bundle import bundle
from .completion import completion
from .distill import distill
from .doctor import doctor
from .download import download
from .eval import evaluate
from .inspect import inspect
from .listen import listen
from .models import models
from .quantize import quantize
from .random import random
from .report import report
from .serve import serve
from .transcribe import transcribe
from .winograd import winograd

INTERRUPTED = 130  # 128 + SIGINT, as shells report it


@dataclass
class Settings:
    """What options before the sub-command say."""

    debug: bool = False


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="edgewhisper")
@click.option("--debug", is_flag=True, help="Show where an error was raised.")
@click.pass_obj
def edgewhisper(settings: Settings, debug: bool) -> None:
    """Whisper speech recognition for small machines.

    A checkpoint goes in, an artifact comes out (build); the artifact alone turns speech into text (transcribe).

    \b
    Examples:
      edgewhisper build demo -o artifacts/demo
      edgewhisper transcribe speech.flac -a artifacts/demo
    """
    settings.debug = debug


for command in (
    transcribe,
    listen,
    build,
    quantize,
    bundle,
    inspect,
    doctor,
    evaluate,
    bench,
    models,
    distill,
    download,
    random,
    report,
    serve,
    winograd,
    completion,
):
    edgewhisper.add_command(command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; an error is one line on standard error."""
    settings = Settings()
    if sys.stderr is None:  # closed; without it, print() would put messages into the transcript
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        code = edgewhisper.main(arguments, prog_name="edgewhisper", standalone_mode=False, obj=settings)
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except Exception as error:
        if settings.debug:
            traceback.print_exc()
        if isinstance(error, click.Abort):
            return INTERRUPTED
        print(f"edgewhisper: error: {describe(error)}", file=sys.stderr)
        return exit_code(error)
    return code if isinstance(code, int) else 0


def describe(error: Exception) -> str:
    """The error as one line."""
    match error:
        case click.UsageError(ctx=click.Context() as context):
            message = f"{error.format_message()} See '{context.command_path} --help'."
        case click.ClickException():
            message = error.format_message()
        case EdgeWhisperError():
            message = str(error)
        case OSError(strerror=str()):
            message = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        case MemoryError():
            message = "not enough memory; close other programs or take a smaller model"
        case _:
            name = type(error).__name__
            message = f"unexpected {name}: {error}; 'edgewhisper --debug ...' shows where, please report it"
    return " ".join(message.split())


def exit_code(error: Exception) -> int:
    """What the command exits with after `error`."""
    return error.exit_code if isinstance(error, EdgeWhisperError | click.ClickException) else 1
