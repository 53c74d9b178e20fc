"""`edgewhisper random`: a checkpoint of a real shape with random weights."""

from pathlib import Path

import click

from .outputs import print_result
from .parameters import FolderPath


@click.command(short_help="Write a checkpoint with random weights, for measurements.")
@click.argument("name")
@click.option(
    "-o",
    "--output",
    required=True,
    type=FolderPath(),
    metavar="DIR",
    help="Where the checkpoint goes.",
)
@click.option(
    "--tokens",
    type=click.IntRange(min=1),
    metavar="N",
    help="Let every transcript end after exactly N tokens.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Equal seeds give equal weights.")
def random(name: str, output: Path, tokens: int | None, seed: int) -> None:
    """Write a transformers folder with the shape and vocabulary of the model NAME and random weights.

    Speed and memory do not depend on the values of the weights, so such a checkpoint serves for measuring where the real
    one cannot be downloaded. Its text means nothing.

    \b
    Examples:
      edgewhisper random base.en -o checkpoints/random-base.en --tokens 100
      edgewhisper build checkpoints/random-base.en -o artifacts/random-base.en
    """
    from edgewhisper.models.random_weights import write_random_checkpoint

    write_random_checkpoint(name, output, seed=seed, tokens=tokens)
    print_result(output)
