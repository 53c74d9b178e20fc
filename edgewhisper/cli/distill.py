"""`edgewhisper distill`: train a draft for a model."""

from pathlib import Path
from typing import Literal

import click

from .outputs import print_result
from .parameters import FolderPath


@click.command(short_help="Train a draft that guesses what a model will say.")
@click.argument("model")
@click.option(
    "--kind",
    type=click.Choice(["heads", "shared"]),
    default="heads",
    show_default=True,
    help="heads go on from the decoder's own hidden state; shared is a decoder of few layers on the model's encoder.",
)
@click.option("--layers", type=click.IntRange(1), default=1, show_default=True, help="Of a shared draft.")
@click.option(
    "--data",
    type=FolderPath(),
    required=True,
    metavar="DIR",
    help="Recordings to learn on; no transcripts are needed.",
)
@click.option("-o", "--output", type=FolderPath(), required=True, metavar="DIR", help="Where the draft goes.")
@click.option(
    "--work-dir",
    type=FolderPath(),
    metavar="DIR",
    help="Keeps what was done, so that an interrupted run goes on. Default: OUTPUT.work",
)
@click.option("--steps", type=click.IntRange(1), default=1500, show_default=True, help="Of training.")
def distill(
    model: str,
    kind: Literal["heads", "shared"],
    layers: int,
    data: Path,
    output: Path,
    work_dir: Path | None,
    steps: int,
) -> None:
    """Train a draft for MODEL: it learns from what the model itself says of the recordings in DIR.

    Give the folder to 'edgewhisper build MODEL --draft'. After an interruption, run the command again: it goes on where
    it stopped.

    \b
    Examples:
      edgewhisper distill base.en --data recordings -o drafts/base.en
      edgewhisper build base.en -o artifacts/base.en --precision int8 --draft drafts/base.en
    """
    from edgewhisper.pipeline.distillation import distill as distill_draft

    work = work_dir or output.with_name(f"{output.name}.work")
    print_result(
        distill_draft(model, kind, layers, data, output, work, steps, lambda line: click.echo(line, err=True))
    )
