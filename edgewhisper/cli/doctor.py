"""`edgewhisper doctor`: what this device can do, and what stands in the way."""

import sys
from pathlib import Path

import click

from .outputs import print_result
from .parameters import FolderPath, Seconds


@click.command(short_help="Say whether this device can transcribe, and what to expect.")
@click.option(
    "-a",
    "--artifact",
    envvar="EDGEWHISPER_ARTIFACT",
    show_envvar=True,
    type=FolderPath(),
    metavar="DIR",
    help="The artifact to examine and to measure with. Default: only say which model would suit.",
)
@click.option(
    "--seconds",
    type=Seconds(min=0),
    default=10,
    show_default=True,
    help="How long measuring the artifact may take; 0 transcribes one window.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; docs/doctor.md describes it.")
@click.pass_context
def doctor(context: click.Context, artifact: Path | None, seconds: float, as_json: bool) -> None:
    """Examine this device: processor, memory, disk, microphones, ONNX Runtime, the artifact, and speed, in about ten seconds.

    The exit code is 0 where transcribing works, warnings or not, 1 where it does not.

    \b
    Examples:
      edgewhisper doctor
      edgewhisper doctor -a artifacts/demo
      edgewhisper doctor -a artifacts/demo --json
    """
    from edgewhisper.deploy.doctor.examination import examine
    from edgewhisper.deploy.doctor.host import this_host
    from edgewhisper.deploy.doctor.text import format_report

    def tell(step: str) -> None:
        print(f"{step} ...", file=sys.stderr)

    report = examine(this_host(), artifact, seconds, tell)
    print_result(report.to_json() if as_json else format_report(report))
    if not report.works:
        context.exit(1)
