"""Whisper speech recognition for small machines, on ONNX Runtime.

>>> from edgewhisper import Transcriber
>>> segments, info = Transcriber("artifacts/demo").transcribe("speech.flac")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgewhisper.pipeline.build import build
    from edgewhisper.runtime.listening.listener import Listener
    from edgewhisper.runtime.transcriber import DecodingOptions, Segment, Transcriber, TranscriptionInfo

__version__ = "0.1.0"
__all__ = [
    "DecodingOptions",
    "Listener",
    "Segment",
    "Transcriber",
    "TranscriptionInfo",
    "__version__",
    "build",
]


def __getattr__(name: str) -> Any:
    if name == "build":
        from edgewhisper.pipeline.build import build

        return build
    if name == "Listener":
        from edgewhisper.runtime.listening.listener import Listener

        return Listener
    if name in ("DecodingOptions", "Segment", "Transcriber", "TranscriptionInfo"):
        from edgewhisper.runtime import transcriber

        return getattr(transcriber, name)
    raise AttributeError(f"module 'edgewhisper' has no attribute {name!r}")
