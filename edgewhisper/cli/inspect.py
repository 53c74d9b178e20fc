"""`edgewhisper inspect`: what an artifact holds."""

from pathlib import Path

import click

from edgewhisper.runtime.session import PROVIDERS

from .outputs import print_result
from .parameters import FolderPath


@click.command(short_help="Show what an artifact holds.")
@click.argument("artifact", type=FolderPath())
@click.option(
    "--provider", type=click.Choice(list(PROVIDERS)), help="Count the nodes that this provider takes here."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with everything the manifest says.")
def inspect(artifact: Path, provider: str | None, as_json: bool) -> None:
    """Show an artifact's graphs, precisions, sizes, shapes, operators and provenance, and what was measured at its build.

    \b
    Examples:
      edgewhisper inspect artifacts/demo
      edgewhisper inspect artifacts/demo --provider cpu
      edgewhisper inspect artifacts/demo --json
    """
    from edgewhisper.pipeline.inspect import inspect as inspect_artifact
    from edgewhisper.pipeline.inspection_text import format_inspection

    inspection = inspect_artifact(artifact, provider)
    print_result(inspection.to_json() if as_json else format_inspection(inspection))
