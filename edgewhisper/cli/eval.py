"""`edgewhisper eval`: how well artifacts transcribe a corpus."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import click

from edgewhisper.errors import MissingDependencyError
from edgewhisper.runtime.options import DecodingOptions, Window
from edgewhisper.runtime.session import PROVIDERS

from .decoding_options import speculate_option, window_option
from .parameters import FolderPath
from .progress import Count
from .spreading import EngineName, engine_of, engine_option, jobs_option


@click.command("eval", short_help="Measure word and character error rates on a corpus.")
@click.argument("corpus")
@click.option(
    "-a",
    "--artifact",
    "artifacts",
    required=True,
    multiple=True,
    type=FolderPath(),
    metavar="DIR",
    help="An artifact; give several to compare them with the first.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=FolderPath(),
    metavar="DIR",
    help="Gets the results; an interrupted run goes on with what is there.",
)
@click.option(
    "--language",
    metavar="CODE",
    help="Spoken in all recordings. Default: as the corpus states, else detected.",
)
@click.option("--timestamps/--no-timestamps", default=True, show_default=True, help="As in transcribe.")
@click.option(
    "--temperature",
    type=click.FloatRange(min=0),
    multiple=True,
    help="As in transcribe. Just 0 never retries.",
)
@click.option("--condition-on-previous-text", is_flag=True, help="As in transcribe.")
@speculate_option
@window_option
@click.option(
    "--most",
    type=click.IntRange(1),
    metavar="N",
    help="Recordings, from the corpus' beginning. Default: all.",
)
@jobs_option
@engine_option
@click.option(
    "--threads", type=click.IntRange(1), help="Of one process. Default: the processors shared among them."
)
@click.option(
    "--provider",
    type=click.Choice(list(PROVIDERS)),
    default="cpu",
    show_default=True,
    help="What runs the graphs.",
)
@click.option(
    "--worst",
    type=click.IntRange(0),
    default=5,
    show_default=True,
    metavar="N",
    help="Recordings to show, with their errors.",
)
@click.pass_context
def evaluate(
    context: click.Context,
    corpus: str,
    artifacts: Sequence[Path],
    output: Path,
    language: str | None,
    timestamps: bool,
    temperature: Sequence[float],
    condition_on_previous_text: bool,
    speculate: Literal["auto", "off"] | int,
    window: Window,
    most: int | None,
    jobs: int,
    engine: EngineName,
    threads: int | None,
    provider: str,
    worst: int,
) -> None:
    """Transcribe CORPUS with artifacts and compare the text with the transcripts.

    CORPUS is a folder of recordings with a .txt beside each, of LibriSpeech or of Kaldi, a table of Common Voice, or a data
    set of Hugging Face, hf:NAME:SPLIT. Texts are compared after Whisper's own normaliser. Recordings that cannot be
    transcribed, or have no transcript, are listed and left out of the rates; the exit code is then 1.

    \b
    Examples:
      edgewhisper eval LibriSpeech/test-clean -a artifacts/base.en -o results
      edgewhisper eval cv/test.tsv -a artifacts/base-fp32 -a artifacts/base-int8 -o results --jobs 2
    """
    try:
        from edgewhisper.bench.corpora.open import open_corpus
        from edgewhisper.bench.evaluation.evaluate import evaluate as evaluate_artifacts
        from edgewhisper.bench.evaluation.text import format_evaluation
        from edgewhisper.bench.evaluation.transcribing import Task
    except ImportError as error:
        raise MissingDependencyError(
            f"evaluation needs the package '{error.name}'; run 'pip install edgewhisper[eval,vocab]'"
        ) from None
    options = DecodingOptions(
        timestamps=timestamps,
        temperature=temperature or DecodingOptions.temperature,
        condition_on_previous_text=condition_on_previous_text,
        speculate=speculate,
        window=window,
    )
    tasks = [Task(artifact, options, language, threads, provider) for artifact in artifacts]
    with Count("recordings") as count:
        found = evaluate_artifacts(
            tasks, open_corpus(corpus), output, engine_of(engine, jobs), most=most, progress=count.update
        )
    print(format_evaluation(found, worst))
    if any(item.others for item in found):
        print(
            f"edgewhisper: error: {sum(len(item.others) for item in found)} results are left out, see above",
            file=sys.stderr,
        )
        context.exit(1)
