"""`python -m edgewhisper` is the edgewhisper command."""

import sys

from edgewhisper.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
