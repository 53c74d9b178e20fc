"""Options that commands which turn speech into text have in common."""

from collections.abc import Callable
from typing import TypeVar

import click

from edgewhisper.runtime.options import TASKS, WINDOWS

from .build_options import parse_size
from .parameters import FolderPath, parse_speculate

_Command = TypeVar("_Command", bound=Callable[..., object])


def artifact_option(required: bool = True) -> Callable[[_Command], _Command]:
    """-a DIR, else $EDGEWHISPER_ARTIFACT."""
    return click.option(
        "-a",
        "--artifact",
        required=required,
        envvar="EDGEWHISPER_ARTIFACT",
        show_envvar=True,
        type=FolderPath(),
        metavar="DIR",
        help="The artifact to transcribe with; 'edgewhisper build' makes one.",
    )


language_option = click.option(
    "--language", metavar="CODE", help="Language spoken, as a code or a name (de, German). Default: detected."
)
task_option = click.option(
    "--task",
    type=click.Choice(TASKS),
    default="transcribe",
    show_default=True,
    help="Write what is said, or its English translation.",
)
speculate_option = click.option(
    "--speculate",
    callback=parse_speculate,
    default="auto",
    show_default=True,
    metavar="auto|off|K",
    help="Tokens guessed and verified at once, where the artifact has a draft. The text is the same.",
)
window_option = click.option(
    "--window",
    type=click.Choice(WINDOWS),
    default="full",
    show_default=True,
    help="auto: encode the speech and a margin, several times faster on short recordings; text that looks wrong is written anew from the full window.",
)
usual_window_option = click.option(
    "--window",
    type=click.Choice(WINDOWS),
    help="auto: encode the speech and a margin, not a full window. Default: auto where the model's error rate with it was measured.",
)
"""For speech that comes in short pieces."""
threads_option = click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads. Default: $EDGEWHISPER_THREADS, else the number of physical cores.",
)
low_memory_option = click.option(
    "--low-memory", is_flag=True, help="Take the least memory; encoding then takes about twice the time."
)
max_ram_option = click.option(
    "--max-ram",
    callback=parse_size,
    metavar="SIZE",
    help="Choose settings with which this memory is enough, such as 256M.",
)
