"""Whether an installed release works on this device: a bundled recording becomes the text that it became at build time."""

import json
import re
from difflib import SequenceMatcher
from pathlib import Path

from edgewhisper.artifact import load_manifest
from edgewhisper.errors import EdgeWhisperError
from edgewhisper.runtime.memory import memory_with_swap
from edgewhisper.runtime.options import DecodingOptions
from edgewhisper.runtime.transcriber import Transcriber

RECORDING = "selftest/recording.flac"
EXPECTED = "selftest/expected.json"
ARTIFACT = "artifact"
_MOST_TOKENS = 48  # enough for the recording; a model that does not stop is cut off there
# Last bits differ between processors, and products of INT8 saturate on build hosts without VNNI, which may turn a word.
# What is broken turns all of them.
_LEAST_ALIKE = 0.75
_ROOT = Path("/")


def self_test(tree: Path, root: Path = _ROOT) -> str:
    """Transcribe the bundled recording and compare the words; gives the text.

    Raises:
        EdgeWhisperError: other words than on the build host, too little memory, or what transcribing raises.
    """
    expected = json.loads((tree / EXPECTED).read_text(encoding="utf-8"))
    needed, free = expected["memory"], memory_with_swap(root)
    if free < needed:
        raise EdgeWhisperError(
            f"{free / 1e6:.0f} MB of memory are free, and this model needs about {needed / 1e6:.0f} MB; "
            "stop the service if it runs (systemctl stop edgewhisper), close other programs, or take the bundle of a smaller model"
        )
    text = understood(tree / ARTIFACT, tree / RECORDING)
    if alike(text, expected["text"]) < _LEAST_ALIKE:
        raise EdgeWhisperError(
            f"{tree / RECORDING} became '{text}' and should have become '{expected['text']}'; please report it, "
            "with what 'cat /proc/cpuinfo' prints"
        )
    return text


def understood(artifact: Path, recording: Path) -> str:
    """What an artifact makes of the recording: greedily, in English where the model has languages."""
    english = "en" in load_manifest(artifact).tokens.languages
    options = DecodingOptions(
        language="en" if english else None,
        timestamps=False,
        temperature=0.0,
        max_tokens=_MOST_TOKENS,
        speculate="off",
    )
    segments, _ = Transcriber(artifact, low_memory=True).transcribe(recording, options)
    return "".join(segment.text for segment in segments).strip()


def alike(text: str, expected: str) -> float:
    """How much of the words is the same, 0 to 1; 0 where none are expected."""
    wanted = words(expected)
    return SequenceMatcher(None, words(text), wanted).ratio() if wanted else 0.0


def words(text: str) -> list[str]:
    """The words, as commas and capitals do not count."""
    return re.findall(r"[\w']+", text.lower())
