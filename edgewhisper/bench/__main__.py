"""Speed and memory on this machine, against other engines on the same random weights: `make bench`."""

import argparse
import sys
import tempfile
from pathlib import Path

from edgewhisper.errors import EdgeWhisperError, UsageError

from .engines import OURS, PEERS
from .measure import measure, write_checkpoint
from .report import ModelFigures, table, write_json
from .workers import Contestant, Setting

_MEASURES = ("speed", "memory")


def main() -> None:
    """Parse the command line, measure each model, print a table each."""
    try:
        _run(_parser().parse_args())
    except EdgeWhisperError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _run(arguments: argparse.Namespace) -> None:
    engines = _names(arguments.engines, (OURS, *PEERS), "--engines")
    measures = _names(arguments.measure, _MEASURES, "--measure")
    contestants = [
        Contestant(f"{OURS}-{precision}", sys.executable)
        for precision in arguments.precision.split(",")
        if OURS in engines
    ]
    contestants += [Contestant(name, arguments.peers_python) for name in engines if name != OURS]
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        for model in arguments.models.split(","):
            work = (arguments.work or Path(temporary)) / model
            write_checkpoint(model, work)
            found = measure(
                contestants,
                Setting(work, arguments.threads),
                arguments.rounds,
                speed="speed" in measures,
                memory="memory" in measures,
            )
            figures.append(ModelFigures(model, arguments.threads, found))
            print(table(figures[-1]), end="\n\n", flush=True)
            if arguments.json:  # after every model: a run takes long
                write_json(arguments.json, figures)


def _names(given: str, known: tuple[str, ...], option: str) -> list[str]:
    names = given.split(",")
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"{option} {unknown[0]}: there is none of that name; known: {', '.join(known)}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edgewhisper.bench",
        description=__doc__,
        epilog="Lists are separated by commas. The first precision is what everything is compared with.",
    )
    parser.add_argument("--models", default="tiny.en,base.en", help="shapes of the random checkpoints")
    parser.add_argument("--engines", default=",".join([OURS, *PEERS]), help="default: %(default)s")
    parser.add_argument(
        "--precision",
        default="int8,int8-low-memory,fp32",
        help="of edgewhisper, as `edgewhisper build` takes it; -low-memory after it runs the same artifact "
        "with the least memory; default: %(default)s",
    )
    parser.add_argument("--measure", default=",".join(_MEASURES), help="default: %(default)s")
    parser.add_argument(
        "--peers-python", default=sys.executable, help="interpreter that has the other engines"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every timing there")
    parser.add_argument(
        "--work", type=Path, help="folder for checkpoints and conversions, kept; default: a temporary one"
    )
    return parser


if __name__ == "__main__":
    main()
