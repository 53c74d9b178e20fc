"""`edgewhisper bench`: speed and memory on this machine."""

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from edgewhisper.errors import MissingDependencyError, OutputError, UsageError

from .parameters import FolderPath

if TYPE_CHECKING:
    from edgewhisper.bench.run import Run
    from edgewhisper.bench.suite import Plan

Number = TypeVar("Number", int, float)


@click.command(short_help="Measure speed and memory on this machine, also of other engines.")
@click.argument("artifacts", nargs=-1, type=FolderPath())
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME",
    help="Measure random weights of this model's shape. Default: tiny.en and base.en, where no artifact is given.",
)
@click.option(
    "--variants",
    metavar="LIST",
    help="Forms of each model, as by --ladder. Default: int8,int8-low-memory,fp32.",
)
@click.option(
    "--ladder",
    is_flag=True,
    help="All forms from PyTorch to INT8 with speculation, what each step brings; where there is a GPU, on it too.",
)
@click.option(
    "--peers", is_flag=True, help="Other engines too, on the same weights; where there is a GPU, on it too."
)
@click.option("--peer", "chosen_peers", multiple=True, metavar="NAME", help="Just these of them.")
@click.option(
    "--peers-python", metavar="FILE", help="An interpreter that has their packages. Default: this one."
)
@click.option("--threads", default="2", show_default=True, metavar="LIST", help="Of one graph, such as 1,2.")
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=5,
    show_default=True,
    help="Of timings, all variants in turn; at least.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0),
    default=0.0,
    metavar="MINUTES",
    help="Go on with rounds for so long for each model and number of threads.",
)
@click.option(
    "--clips",
    default="1,3,5,10,30,300",
    show_default=True,
    metavar="LIST",
    help="Seconds of recordings; 'none' for none.",
)
@click.option("--speed/--no-speed", default=True, help="Measure times.", show_default=True)
@click.option(
    "--memory/--no-memory",
    default=True,
    help="Measure memory and load times, in fresh processes.",
    show_default=True,
)
@click.option(
    "--winograd-error",
    is_flag=True,
    help="Errors of fast convolutions against their points too; takes some seconds. --ladder has it.",
)
@click.option("--accuracy", is_flag=True, help="Error rates of the bundled model in every variant too.")
@click.option(
    "--sustained",
    type=click.FloatRange(0),
    default=0.0,
    metavar="MINUTES",
    help="Let the first variant go on for so long.",
)
@click.option(
    "--work", type=FolderPath(), metavar="DIR", help="Keeps checkpoints and conversions for the next run."
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the run there, for 'edgewhisper report'; what is measured so far while it goes on.",
)
@click.option(
    "--compare",
    nargs=2,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="OLD NEW",
    help="Measure nothing, compare two runs; the exit code is 1 where the new one is worse.",
)
@click.pass_context
def bench(
    context: click.Context,
    artifacts: Sequence[Path],
    models: Sequence[str],
    variants: str | None,
    ladder: bool,
    peers: bool,
    chosen_peers: Sequence[str],
    peers_python: str | None,
    threads: str,
    rounds: int,
    minutes: float,
    clips: str,
    speed: bool,
    memory: bool,
    winograd_error: bool,
    accuracy: bool,
    sustained: float,
    work: Path | None,
    output: Path | None,
    compare: tuple[Path, Path] | None,
) -> None:
    """Measure ARTIFACTS, or random weights of a model's shape in several forms, on this machine.

    All variants and engines have the same weights, window and threads, decode greedily the same number of tokens, and take
    turns. A timing that others disturbed is repeated, and marked if that does not help. Nothing else should run meanwhile.

    \b
    Examples:
      edgewhisper bench artifacts/base.en
      edgewhisper bench --model base.en --ladder -o ladder.json
      edgewhisper bench --peers --peers-python .venv-baselines/bin/python -o run.json
      edgewhisper bench --compare old.json new.json
    """
    try:
        from edgewhisper.bench.comparison import compare as compare_runs
        from edgewhisper.bench.comparison import format_comparison
        from edgewhisper.bench.engines.ours import FORMS
        from edgewhisper.bench.measure import Wanted
        from edgewhisper.bench.progress import Progress
        from edgewhisper.bench.run import read_run, write_run
        from edgewhisper.bench.suite import DEFAULT, Plan, check_plan, pytorch, run_plan
        from edgewhisper.bench.suite import ladder as all_forms
        from edgewhisper.bench.suite import peers as all_peers
        from edgewhisper.bench.table import format_model
        from edgewhisper.bench.winograd import winograd_errors
    except ImportError as error:
        raise MissingDependencyError(
            f"the benchmark needs the package '{error.name}'; run 'pip install edgewhisper[build,cpu,eval,vocab]'"
        ) from None
    if compare is not None:
        comparison = compare_runs(read_run(compare[0]), read_run(compare[1]))
        print(format_comparison(comparison))
        context.exit(1 if comparison.has_regression else 0)
    forms = tuple(variants.split(",")) if variants else all_forms() if ladder else DEFAULT
    others = tuple(chosen_peers) or (all_peers() if peers else pytorch() if ladder else ())
    plan = Plan(
        models=tuple(models) or (() if artifacts else ("tiny.en", "base.en")),
        artifacts=tuple(artifacts),
        variants=forms,
        peers=others,
        peers_python=peers_python or sys.executable,
        threads=tuple(_numbers(threads, "--threads", int)),
        wanted=Wanted(
            speed,
            memory,
            () if clips == "none" else tuple(_numbers(clips, "--clips", float)),
            rounds,
            60 * minutes,
        ),
        work=work,
        sustained=sustained,
    )
    check_plan(plan)
    if output is not None and not output.absolute().parent.is_dir():
        raise OutputError(f"{output}: cannot be written (no folder {output.parent}); name another file")
    if accuracy:  # before hours of work, not after
        try:
            from edgewhisper.bench.evaluation.normaliser import normaliser
            from edgewhisper.pipeline.accuracy import with_accuracy
        except ImportError as error:
            raise MissingDependencyError(
                f"--accuracy needs the package '{error.name}'; run 'pip install edgewhisper[eval,vocab]'"
            ) from None
        normaliser("en")
    progress = Progress()

    def measure_all() -> "Run":
        run = run_plan(
            plan,
            _described(plan),
            lambda model: print(f"{format_model(model)}\n", flush=True),
            progress.tell,
            kept.keep,
        )
        if winograd_error or ladder:
            progress.tell("errors of fast convolutions")
            run = replace(run, winograd=winograd_errors())
            kept.keep(replace(run, finished=False))
        if accuracy:
            run = with_accuracy(run, [form for form in forms if form in FORMS], progress.tell)
        return run

    kept = _Kept(output)
    try:
        with _ended_by_sigterm():
            run = measure_all()
    except KeyboardInterrupt:
        print(f"edgewhisper: ended; {kept.where()}", file=sys.stderr)
        raise click.Abort from None
    finally:
        progress.end()
    if output is not None:
        write_run(run, output)
        print(f"written to {output}; 'edgewhisper report {output} -o report.html' shows it", file=sys.stderr)


class _Kept:
    """The run so far in its file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._written = False

    def keep(self, run: "Run") -> None:
        """Write it, if there is a file for it."""
        from edgewhisper.bench.run import write_run

        if self._path is not None:
            write_run(run, self._path)
            self._written = True

    def where(self) -> str:
        """Where to find what was measured."""
        if self._path is None:
            return "nothing is kept, as no -o FILE was given"
        if not self._written:
            return f"nothing was measured, and nothing written to {self._path}"
        return (
            f"what was measured is in {self._path}; 'edgewhisper report {self._path} -o report.html' shows it"
        )


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends what is done as Ctrl-C does, so that no process is left behind."""

    def end(number: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _described(plan: "Plan") -> str:
    """What was asked for, without the folders of this machine."""
    names = [f"--model {name}" for name in plan.models] or [path.resolve().name for path in plan.artifacts]
    peers = [f"--peer {name}" for name in plan.peers]
    threads = ",".join(map(str, plan.threads))
    minutes = [f"--minutes {plan.wanted.seconds / 60:g}"] if plan.wanted.seconds else []
    return " ".join(
        [
            "bench",
            *names,
            f"--variants {','.join(plan.variants)}",
            *peers,
            f"--threads {threads} --rounds {plan.wanted.rounds}",
            *minutes,
        ]
    )


def _numbers(text: str, option: str, kind: type[Number]) -> list[Number]:
    try:
        numbers = [kind(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"{option} {text}: give numbers with commas between, such as 1,2") from None
    if any(not number > 0 for number in numbers):
        raise UsageError(f"{option} {text}: give numbers above 0")
    return numbers
