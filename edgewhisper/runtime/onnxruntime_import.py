"""ONNX Runtime, imported in one place.

Official builds from 1.32 on report usage to their maker unless told otherwise before the import, and keep an id of the device
under the user's cache folder. This package never touches the network, so it tells them otherwise. An application that imported
onnxruntime earlier has decided for itself.
"""

import importlib
import os
from typing import Any

from edgewhisper.errors import MissingDependencyError


def onnxruntime() -> Any:
    """The module `onnxruntime`.

    Raises:
        MissingDependencyError: it is not installed, or does not load.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) or error.name != "onnxruntime":
            line = " ".join(str(error).split())
            raise MissingDependencyError(
                f"ONNX Runtime does not load ({line}); 'edgewhisper doctor' looks at this device"
            ) from error
        raise MissingDependencyError(
            "ONNX Runtime is not installed; run 'pip install edgewhisper[cpu]' (or edgewhisper[gpu])"
        ) from error
