"""JSON files of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from edgewhisper.errors import CheckpointError


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a file that holds one JSON object.

    Raises:
        CheckpointError: the file is missing, unreadable, not JSON or not an object.
    """
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing; the checkpoint is incomplete, download it again") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged, not JSON ({error}); download the checkpoint again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: must hold a JSON object; download the checkpoint again")
    return data
