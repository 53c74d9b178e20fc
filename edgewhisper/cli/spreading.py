"""Options of commands that spread the recordings of a corpus over processes."""

from typing import TYPE_CHECKING, Literal

import click

from edgewhisper.errors import MissingDependencyError

if TYPE_CHECKING:
    from edgewhisper.bench.spreading.job import Engine

EngineName = Literal["local", "ray"]

jobs_option = click.option(
    "--jobs",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Processes that share the processors.",
)
engine_option = click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What transcribes: processes of this machine, or a Ray cluster.",
)


def engine_of(name: EngineName, jobs: int) -> "Engine":
    """The engine of these options.

    Raises:
        MissingDependencyError: Ray is not installed.
    """
    if name == "local":
        from edgewhisper.bench.spreading.local import local_engine

        return local_engine(jobs)
    try:
        from edgewhisper.bench.spreading.on_ray import ray_engine
    except ImportError as error:
        raise MissingDependencyError(
            f"--engine ray needs the package '{error.name}'; run 'pip install edgewhisper[ray]'"
        ) from None
    return ray_engine(jobs)
