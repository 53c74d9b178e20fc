"""`edgewhisper build`: a checkpoint becomes an artifact."""

from pathlib import Path

import click

from .outputs import print_result
from .parameters import FolderPath


@click.command(short_help="Turn a Whisper checkpoint into an artifact.")
@click.argument("model")
@click.option(
    "-o",
    "--output",
    required=True,
    type=FolderPath(),
    metavar="DIR",
    help="Where the artifact goes.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32"]),
    default="fp32",
    show_default=True,
    help="Precision of the weights.",
)
@click.option(
    "--parity/--no-parity",
    default=None,
    help="Compare the graphs with PyTorch and fail beyond the tolerance. Default: when torch is installed.",
)
def build(model: str, output: Path, precision: str, parity: bool | None) -> None:
    """Turn the Whisper checkpoint MODEL into an artifact: ONNX graphs, weights, vocabulary and a manifest.

    MODEL is the name of a card ('edgewhisper models'), a hub id, a folder in transformers' format, an OpenAI .pt file
    or a whisper.cpp ggml .bin file; 'demo' is the bundled model. An artifact that is already in DIR is replaced only when
    the new one is complete.

    \b
    Examples:
      edgewhisper build demo -o artifacts/demo
      edgewhisper build tiny.en -o artifacts/tiny.en
      edgewhisper build openai/whisper-base -o artifacts/base
      edgewhisper build checkpoints/my-whisper -o artifacts/my-whisper --parity
    """
    from edgewhisper.pipeline.build import BuildStep
    from edgewhisper.pipeline.build import build as build_artifact

    def show(step: BuildStep) -> None:
        click.echo(f"[{step.number}/{step.total}] {step.name}", err=True)

    print_result(build_artifact(model, output, precision=precision, parity=parity, progress=show))
