"""`edgewhisper distill`: train a draft for a model, or a smaller model like it."""

from pathlib import Path
from typing import Literal

import click

from .outputs import print_result
from .parameters import FolderPath
from .spreading import EngineName, engine_of, engine_option, jobs_option


@click.command(
    short_help="Train a draft that guesses what a model will say, or a student that says the same."
)
@click.argument("model")
@click.option(
    "--kind",
    type=click.Choice(["heads", "shared", "student"]),
    default="heads",
    show_default=True,
    help="heads go on from the decoder's own hidden state; shared is a decoder of few layers on the model's encoder; "
    "student is a model of its own with that encoder and fewer decoder layers.",
)
@click.option(
    "--layers",
    type=click.IntRange(1),
    help="Of a shared draft (default 1), or of a student's decoder (default half of the model's).",
)
@click.option(
    "--data",
    required=True,
    metavar="CORPUS",
    help="Recordings to learn on; no transcripts are needed. A folder, LibriSpeech, Kaldi, a table of Common Voice, or hf:NAME:SPLIT.",
)
@click.option(
    "-o", "--output", type=FolderPath(), required=True, metavar="DIR", help="Where the draft or student goes."
)
@click.option(
    "--work-dir",
    type=FolderPath(),
    metavar="DIR",
    help="Keeps what was done, so that an interrupted run goes on. Default: OUTPUT.work",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    metavar="N",
    help="Recordings to learn on, from the corpus' beginning. Default: all.",
)
@click.option(
    "--max-wer",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Leave out recordings of which the model writes something else than their transcript, such as 10. Default: none.",
)
@jobs_option
@engine_option
@click.option("--steps", type=click.IntRange(1), default=1500, show_default=True, help="Of training.")
@click.option(
    "--batch", type=click.IntRange(1), default=32, show_default=True, metavar="N", help="Windows of a step."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What trains; auto takes an NVIDIA GPU where PyTorch sees one.",
)
def distill(
    model: str,
    kind: Literal["heads", "shared", "student"],
    layers: int,
    data: str,
    output: Path,
    work_dir: Path | None,
    most: int | None,
    max_wer: float | None,
    jobs: int,
    engine: EngineName,
    steps: int,
    batch: int,
    device: Literal["auto", "cpu", "cuda"],
) -> None:
    """Train a draft or a student for MODEL: it learns from what the model itself says of the recordings in CORPUS.

    Give the folder of a draft to 'edgewhisper build MODEL --draft'; a student's to 'edgewhisper build'. After an
    interruption, run the command again: it goes on where it stopped.

    \b
    Examples:
      edgewhisper distill base.en --data recordings -o drafts/base.en
      edgewhisper build base.en -o artifacts/base.en --precision int8 --draft drafts/base.en
      edgewhisper distill base.en --kind student --data recordings -o students/base.en
      edgewhisper build students/base.en -o artifacts/base.en-student --precision int8
    """
    from edgewhisper.pipeline.distillation import distill as distill_draft

    work = work_dir or output.with_name(f"{output.name}.work")
    print_result(
        distill_draft(
            model, kind, layers, data, output, work, steps, lambda line: click.echo(line, err=True),
            most=most, max_wer=None if max_wer is None else max_wer / 100, engine=engine_of(engine, jobs), batch=batch, device=device,
        )
    )  # fmt: skip
