"""`make demo`: transcribe the bundled recordings and compare the text with what was said.

Run as `python -m edgewhisper.bench.demo ARTIFACT RECORDINGS`; RECORDINGS is a folder with `transcripts.tsv`, a table
with the columns `file`, `group`, `language` and `text`; where nobody speaks, the text is empty.
"""

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgewhisper.runtime.memory import peak_memory
from edgewhisper.runtime.transcriber import Transcriber

TRANSCRIPTS = "transcripts.tsv"


@dataclass(frozen=True)
class Result:
    """One recording: what was said and what was understood."""

    file: str
    group: str
    language: str
    reference: str
    text: str
    detected_language: str
    duration: float  # seconds of audio
    elapsed: float  # seconds to transcribe it


def transcribe_all(artifact: Path, recordings: Path) -> list[Result]:
    """Transcribe every recording of the table, the language left to the model."""
    transcriber = Transcriber(artifact)
    with (recordings / TRANSCRIPTS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [_transcribe(transcriber, recordings, row) for row in rows]


def _transcribe(transcriber: Transcriber, recordings: Path, row: dict[str, str]) -> Result:
    started = time.perf_counter()
    segments, info = transcriber.transcribe(recordings / row["file"])
    text = "".join(segment.text for segment in segments).strip()
    elapsed = time.perf_counter() - started
    return Result(
        row["file"], row["group"], row["language"], row["text"], text, info.language, info.processed, elapsed
    )


def report(results: Sequence[Result]) -> str:
    """Text beside reference, error rates, speed and memory."""
    peak = peak_memory()  # before the packages that score are loaded
    lines = [_compare(result) for result in results]
    for group in dict.fromkeys(result.group for result in results):
        members = [result for result in results if result.group == group]
        spoken = all(result.reference for result in members)
        lines.append(f"{group:<9} {_score(members) if spoken else _score_without_speech(members)}")
    duration, elapsed = sum(r.duration for r in results), sum(r.elapsed for r in results)
    lines.append(
        f"speed     {duration:.1f} s of audio in {elapsed:.2f} s, real-time factor {elapsed / duration:.3f}"
    )
    lines.append(f"memory    {peak / 1e6:.0f} MB at the peak")
    return "\n".join(lines)


def _compare(result: Result) -> str:
    from .scoring import normalise

    if normalise(result.text) == normalise(result.reference):
        return f"{result.file}: right\n  {result.text or '(nothing)'}"
    return f"{result.file}: different\n  said  {result.reference or '(nothing)'}\n  text  {result.text or '(nothing)'}"


def _score(results: Sequence[Result]) -> str:
    from .scoring import error_rate

    rate = error_rate([result.reference for result in results], [result.text for result in results])
    detected = sum(result.detected_language == result.language for result in results)
    return (
        f"WER {100 * rate.wer:.1f} % (95 % interval {100 * rate.low:.1f} to {100 * rate.high:.1f} %), "
        f"CER {100 * rate.cer:.1f} %, {rate.reference_words} words; language right in {detected} of {len(results)}"
    )


def _score_without_speech(results: Sequence[Result]) -> str:
    return (
        f"text in {sum(bool(result.text) for result in results)} of {len(results)} recordings without speech"
    )


def main() -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="python -m edgewhisper.bench.demo", description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("recordings", type=Path)
    arguments = parser.parse_args()
    print(report(transcribe_all(arguments.artifact, arguments.recordings)))


if __name__ == "__main__":
    main()
