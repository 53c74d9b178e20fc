"""`edgewhisper quantize`: an fp32 artifact becomes a smaller one."""

from pathlib import Path
from typing import Any

import click

from .build_options import build_options, conversion_options, step_printer
from .outputs import print_result
from .parameters import FolderPath


@click.command(short_help="Make a smaller artifact of an fp32 one.")
@click.argument("artifact", type=FolderPath())
@click.option(
    "-o",
    "--output",
    required=True,
    type=FolderPath(),
    metavar="DIR",
    help="Where the new artifact goes.",
)
@conversion_options
def quantize(artifact: Path, output: Path, **options: Any) -> None:
    """Turn an fp32 ARTIFACT into one of another precision, without its checkpoint.

    The same as 'edgewhisper build' with these options; an artifact that is quantized already is refused.

    \b
    Examples:
      edgewhisper quantize artifacts/base -o artifacts/base-int8 --precision int8
      edgewhisper quantize artifacts/base -o artifacts/base-pi --precision int8 --target arm64 --calibration recordings
    """
    from edgewhisper.pipeline.build import quantize as quantize_artifact

    print_result(quantize_artifact(artifact, output, build_options(**options), progress=step_printer()))
