"""`edgewhisper serve`: speech to text for Home Assistant."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Literal

import click

from edgewhisper.artifact import load_manifest
from edgewhisper.errors import MissingDependencyError
from edgewhisper.runtime.options import DecodingOptions, Window, check_options

from .build_options import parse_size
from .decoding_options import (
    artifact_option,
    low_memory_option,
    max_ram_option,
    speculate_option,
    threads_option,
    usual_window_option,
)
from .parameters import Seconds


@click.command(short_help="Serve speech to text over Home Assistant's Wyoming protocol.")
@artifact_option()
@click.option(
    "--wyoming",
    default="tcp://127.0.0.1:10300",
    show_default=True,
    metavar="tcp://HOST:PORT",
    help="Where to listen; 0.0.0.0 lets other machines in, and Wyoming asks none of them for a password.",
)
@click.option(
    "--load",
    type=click.Choice(["start", "first-use"]),
    default="start",
    show_default=True,
    help="When the model is loaded.",
)
@click.option(
    "--idle-unload",
    type=Seconds(min=0),
    default=300,
    show_default=True,
    metavar="SECONDS",
    help="Free the model's memory after so long without a request; 0 never does.",
)
@click.option(
    "--language", metavar="CODE", help="Language spoken, where the client does not say. Default: detected."
)
@click.option("--initial-prompt", metavar="TEXT", help="Names and words to expect, such as those of rooms.")
@speculate_option
@usual_window_option
@threads_option
@low_memory_option
@max_ram_option
@click.option(
    "--max-clients",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Clients connected at once.",
)
@click.option(
    "--max-waiting",
    type=click.IntRange(min=0),
    default=8,
    show_default=True,
    help="Requests that may wait while one is transcribed; more are told to come back.",
)
@click.option(
    "--max-audio",
    type=Seconds(min=0, min_open=True),
    default=120,
    show_default=True,
    metavar="SECONDS",
    help="Audio of one request.",
)
@click.option(
    "--max-buffer",
    callback=parse_size,
    default="64M",
    show_default=True,
    metavar="SIZE",
    help="Audio of all clients together.",
)
@click.option(
    "--timeout",
    type=Seconds(min=0, min_open=True),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Let go of a client that sends nothing, or takes no answer, for so long.",
)
@click.option(
    "--zeroconf",
    is_flag=True,
    envvar="EDGEWHISPER_ZEROCONF",
    show_envvar=True,
    help="Announce the service in the local network, so that Home Assistant finds it.",
)
@click.option("-v", "--verbose", is_flag=True, help="Write what was said into the log.")
def serve(
    artifact: Path,
    wyoming: str,
    load: Literal["start", "first-use"],
    idle_unload: float,
    language: str | None,
    initial_prompt: str | None,
    speculate: Literal["auto", "off"] | int,
    window: Window | None,
    threads: int | None,
    low_memory: bool,
    max_ram: int | None,
    max_clients: int,
    max_waiting: int,
    max_audio: float,
    max_buffer: int,
    timeout: float,
    zeroconf: bool,
    verbose: bool,
) -> None:
    """Serve speech to text over the Wyoming protocol, which Home Assistant speaks, until SIGTERM or Ctrl-C.

    One request is transcribed at a time, a few wait, more are told so. The log goes to standard error; SIGUSR1 adds a
    line of metrics. A running request is finished before the service ends.

    \b
    Examples:
      edgewhisper serve -a artifacts/demo
      edgewhisper serve -a artifacts/base --wyoming tcp://0.0.0.0:10300 --language de --idle-unload 0
    """
    try:
        from edgewhisper.deploy.service.address import parse_address
        from edgewhisper.deploy.service.limits import Limits
        from edgewhisper.deploy.service.server import Service, Settings
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "wyoming":
            raise
        raise MissingDependencyError(
            "serving needs the package wyoming; run 'pip install edgewhisper[serve]'"
        ) from None
    from edgewhisper.runtime.short_window import usual_window
    from edgewhisper.runtime.transcriber import Transcriber

    settings = Settings(parse_address(wyoming), load == "start", idle_unload, zeroconf, verbose)
    limits = Limits(max_clients, max_waiting, max_audio, max_buffer, timeout)
    manifest = load_manifest(artifact, draft_may_lack=True)
    options = DecodingOptions(
        language=language,
        initial_prompt=initial_prompt,
        speculate=speculate,
        temperature=(0.0, 0.4),  # who speaks waits: one more try where text is unsure, not five
        window=window or usual_window(manifest),
    )
    check_options(options, manifest.tokens, manifest.dimensions)
    _log_to_standard_error()
    service = Service(
        manifest,
        lambda: Transcriber(artifact, threads=threads, low_memory=low_memory, max_ram=max_ram),
        options,
        settings,
        limits,
    )
    asyncio.run(service.run())


def _log_to_standard_error() -> None:
    """systemd's journal has the times already."""
    style = "%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=style, datefmt="%Y-%m-%d %H:%M:%S", stream=sys.stderr)
