"""The second half of `bin/edgewhisper-self-test`: a recording becomes the text that it became on the build host."""

import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[1]


def main() -> int:
    """Print what was understood, or one line about what is wrong."""
    sys.path.insert(0, str(TREE / "lib"))

    from edgewhisper.deploy.bundle.self_test import self_test
    from edgewhisper.errors import EdgeWhisperError

    try:
        print(self_test(TREE))
    except EdgeWhisperError as error:
        print(f"edgewhisper: error: the self-test failed: {error}", file=sys.stderr)
        return 1
    except Exception as error:  # a package that does not suit this system
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"edgewhisper: error: the self-test failed ({reason}); please report it", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
