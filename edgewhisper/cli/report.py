"""`edgewhisper report`: runs of the benchmark as a page, images and Markdown."""

from collections.abc import Sequence
from pathlib import Path

import click

from edgewhisper.errors import OutputError, UsageError

from .outputs import print_result
from .parameters import FolderPath


@click.command(short_help="Show benchmark runs as a page with tables and plots.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one HTML page to FILE, which needs no other file and no network.",
)
@click.option("--png", metavar="DIR", type=FolderPath(), help="Write each plot as PNG into DIR.")
@click.option(
    "--markdown",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the tables as GitHub-flavoured Markdown to FILE.",
)
def report(runs: Sequence[Path], output: Path | None, png: Path | None, markdown: Path | None) -> None:
    """Show what 'edgewhisper bench' measured, RUN being files that it wrote; several runs are put together by model.

    \b
    Examples:
      edgewhisper report run.json -o report.html
      edgewhisper report before.json after.json -o report.html
      edgewhisper report run.json --png plots --markdown tables.md
    """
    _check(runs, output, png, markdown)
    from edgewhisper.bench.html.report import write_report
    from edgewhisper.bench.run import read_run

    write_report([read_run(path) for path in runs], page=output, images=png, markdown=markdown)
    for written in (output, markdown, png):
        if written is not None:
            print_result(written)


def _check(runs: Sequence[Path], output: Path | None, png: Path | None, markdown: Path | None) -> None:
    """What can be known before the work."""
    files = {name: path for name, path in (("-o", output), ("--markdown", markdown)) if path is not None}
    if not files and png is None:
        raise UsageError("nothing to write; add -o FILE, --png DIR or --markdown FILE")
    for name, path in files.items():
        if not path.absolute().parent.is_dir():
            raise OutputError(f"{path}: cannot be written (no folder {path.parent}); name another file")
        if path.resolve() in {run.resolve() for run in runs}:
            raise UsageError(f"{name} {path}: is one of the runs, which it would replace; name another file")
    if len(files) > len({path.resolve() for path in files.values()}):
        raise UsageError("-o and --markdown name the same file; give two")
    if png is not None and png.exists() and not png.is_dir():
        raise UsageError(f"--png {png}: is a file; give a folder")
