"""`edgewhisper bundle`: an artifact becomes a file that a Raspberry Pi installs."""

import sys
from pathlib import Path

import click

from edgewhisper.deploy.bundle.names import PYTHONS

from .outputs import print_result
from .parameters import FolderPath


@click.command(short_help="Pack an artifact for a Raspberry Pi.")
@click.argument("artifact", type=FolderPath())
@click.option(
    "-o",
    "--output",
    type=FolderPath(),
    default="dist",
    show_default=True,
    metavar="DIR",
    help="Where the files go.",
)
@click.option(
    "--python",
    type=click.Choice([*PYTHONS, "both"]),
    default=PYTHONS[0],
    show_default=True,
    help="The device's Python: 3.11 in Raspberry Pi OS bookworm, 3.13 in trixie.",
)
@click.option(
    "--deb/--no-deb", default=True, show_default=True, help="Write a Debian package beside the tarball."
)
@click.option(
    "--revision",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Of the Debian package. One that was built again replaces the one before only with a higher revision.",
)
def bundle(artifact: Path, output: Path, python: str, deb: bool, revision: int) -> None:
    """Pack ARTIFACT, built with --target arm64, and all that it needs into one file for 64-bit Arm devices.

    The packages for the device are fetched from the package index; the device itself needs no network, pip or compiler.

    \b
    Examples:
      edgewhisper bundle artifacts/demo-pi
      edgewhisper bundle artifacts/base-pi --python both -o dist
    """
    from edgewhisper.deploy.bundle.build import build_bundles

    pythons = PYTHONS if python == "both" else (python,)
    paths = build_bundles(
        artifact,
        output,
        pythons,
        deb=deb,
        revision=revision,
        progress=lambda step: print(step, file=sys.stderr, flush=True),
    )
    print_result("\n".join(map(str, paths)))
