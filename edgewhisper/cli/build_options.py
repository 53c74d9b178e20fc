"""The options that `build` and `quantize` share."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from edgewhisper.pipeline import options as names
from edgewhisper.pipeline.options import BuildOptions
from edgewhisper.pipeline.steps import BuildStep, Progress
from edgewhisper.runtime.processor import TARGETS

from .parameters import FolderPath

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


def parse_size(context: click.Context, option: click.Parameter, value: str | None) -> int | None:
    """ "256M" -> 256,000,000 bytes."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{1,12})([KMG]?)B?", value.upper())
    if match is None or int(match[1]) == 0:
        raise click.BadParameter(f"'{value}' is not a size; give a number of bytes, such as 256M or 1G.")
    return int(match[1]) * _UNITS[match[2]]


_OPTIONS = (
    click.option(
        "--precision",
        type=click.Choice(names.PRECISIONS),
        help="Of the weights and products; int8 is dynamic for the encoder, static for the decoder. Default: fp32, or what "
        "fits --max-ram.",
    ),
    click.option("--encoder-precision", type=click.Choice(names.PRECISIONS), help="Of the encoder alone."),
    click.option("--decoder-precision", type=click.Choice(names.PRECISIONS), help="Of the decoder alone."),
    click.option(
        "--target", type=click.Choice(TARGETS), help="The processor to build for. Default: this machine's."
    ),
    click.option(
        "--winograd",
        type=click.Choice(get_args(names.Winograd)),
        default="auto",
        show_default=True,
        help="How the encoder's convolutions are computed; auto is what was measured as fastest for the target.",
    ),
    click.option(
        "--winograd-table",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="What --winograd auto reads, written by 'edgewhisper winograd --tune -o FILE'. Default: the package's table.",
    ),
    click.option(
        "--calibration",
        type=FolderPath(),
        metavar="DIR",
        help="Recordings from which the ranges of static INT8 are taken. Default: the bundled ones.",
    ),
    click.option(
        "--calibration-method",
        type=click.Choice(get_args(names.CalibrationMethod)),
        help=f"How a range of static INT8 follows from what was observed. Default: {names.CALIBRATION_METHOD}.",
    ),
    click.option(
        "--block-size",
        type=click.Choice([str(size) for size in names.BLOCK_SIZES]),
        help=f"Weights that share a scale, of int8-weight and int4. Default: {names.BLOCK_SIZE}.",
    ),
    click.option(
        "--weight-method",
        type=click.Choice(get_args(names.WeightMethod)),
        help=f"How the weights of int8-weight and int4 are rounded. Default: {names.WEIGHT_METHOD}.",
    ),
    click.option(
        "--gate",
        type=click.Choice(get_args(names.Gate)),
        default="layers",
        show_default=True,
        help="What must be close to fp32: the layers, the text as well, or nothing.",
    ),
    click.option(
        "--evaluation",
        metavar="CORPUS",
        help="Recordings with transcripts for --gate text: a .txt beside each, LibriSpeech, Kaldi, a table of Common Voice, or "
        "hf:NAME:SPLIT. Default: the bundled ones.",
    ),
    click.option(
        "--on-loss",
        type=click.Choice(get_args(names.OnLoss)),
        default="fail",
        show_default=True,
        help="When the gate refuses: fail, or take the next safer precision.",
    ),
    click.option(
        "--self-kv",
        type=click.Choice(get_args(names.SelfKV)),
        help="Of the self-attention cache; int8 takes a quarter of the memory and needs ONNX Runtime 1.31. Default: fp32.",
    ),
    click.option(
        "--max-ram",
        callback=parse_size,
        metavar="SIZE",
        help="Pick the precision whose transcription fits this memory, such as 256M.",
    ),
)


def conversion_options(command: Command) -> Command:
    """Add the options to a command; it gets them as keyword arguments of these names."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def build_options(block_size: str | None, **values: Any) -> BuildOptions:
    """The command's keyword arguments as one object."""
    return BuildOptions(block_size=None if block_size is None else int(block_size), **values)


def step_printer() -> Progress:
    """Prints each step on standard error as it begins; a bar follows a long one on a terminal."""
    bars: list[Any] = []

    def show(step: BuildStep) -> None:
        if step.fraction in (0, 1):
            while bars:
                bars.pop().close()
        if step.fraction == 0:
            click.echo(f"[{step.number}/{step.total}] {step.name}", err=True)
        elif step.fraction < 1 and sys.stderr.isatty():
            if not bars:
                from tqdm import tqdm

                bars.append(tqdm(total=100, leave=False, bar_format="{bar} {percentage:.0f} %", ncols=60))
            bars[0].update(round(100 * step.fraction) - bars[0].n)

    return show
