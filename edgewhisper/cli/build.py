"""`edgewhisper build`: a checkpoint becomes an artifact."""

from pathlib import Path
from typing import Any, get_args

import click

from edgewhisper.pipeline.options import Ops

from .build_options import build_options, conversion_options, step_printer
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
@conversion_options
@click.option(
    "--ops",
    type=click.Choice(get_args(Ops)),
    default="fused",
    show_default=True,
    help="fused uses operators of ONNX Runtime; portable only those of the ONNX standard, in fp32.",
)
@click.option(
    "--prune-vocabulary",
    metavar="CHOICE",
    help="Keep only the tokens of languages:en,de or characters:abc... or corpus:FILE.",
)
@click.option(
    "--prune-heads",
    type=float,
    default=0.0,
    metavar="RATIO",
    help="Share of the attention heads to remove, such as 0.1.",
)
@click.option(
    "--prune-feed-forward",
    type=float,
    default=0.0,
    metavar="RATIO",
    help="Share of the feed-forward units to remove, such as 0.1.",
)
@click.option(
    "--draft",
    metavar="DRAFT",
    help="What guesses tokens, so that several are decoded at once: heads, shared:1, a folder of 'edgewhisper distill', or "
    "ngram[:FILE], phrases that are looked up.",
)
@click.option(
    "--parity/--no-parity",
    default=None,
    help="Compare the graphs with PyTorch and fail beyond the tolerance. Default: when torch is installed.",
)
def build(model: str, output: Path, parity: bool | None, **options: Any) -> None:
    """Turn the Whisper checkpoint MODEL into an artifact: ONNX graphs, weights, vocabulary and a manifest.

    MODEL is the name of a card ('edgewhisper models'), a hub id, a folder in transformers' format, an OpenAI .pt file
    or a whisper.cpp ggml .bin file; 'demo' is the bundled model. An artifact that is already in DIR is replaced only when
    the new one is complete.

    \b
    Examples:
      edgewhisper build demo -o artifacts/demo
      edgewhisper build tiny.en -o artifacts/tiny.en --precision int8
      edgewhisper build openai/whisper-base -o artifacts/base --precision int8 --target arm64
      edgewhisper build checkpoints/my-whisper -o artifacts/my-whisper --parity
    """
    from edgewhisper.pipeline.build import build as build_artifact

    print_result(
        build_artifact(model, output, build_options(**options), parity=parity, progress=step_printer())
    )
