"""The command `edgewhisper` of a bundle. It runs with `python3 -I`, which puts this folder first among those of modules."""

import os
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the command with the bundle's model, unless another one is named."""
    settings = dict(line.split("=", 1) for line in (TREE / "release.conf").read_text().splitlines())
    found = "{}.{} on {}".format(*sys.version_info[:2], os.uname().machine)
    wanted = f"{settings['python']} on {settings['machine']}"
    if found != wanted:
        problem = f"this release is for Python {wanted}, and {sys.executable} is Python {found}"
        print(f"edgewhisper: error: {problem}; install the bundle for that", file=sys.stderr)
        return 1
    os.environ.setdefault("EDGEWHISPER_ARTIFACT", str(TREE / "artifact"))

    from edgewhisper.cli.main import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
