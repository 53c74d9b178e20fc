"""Transcripts as files: txt, json, srt, vtt and tsv, with the details of openai-whisper's writers.

Each writer takes segments as they are decoded and writes each one at once, so that a long recording's transcript can be
read while it grows. All are lossless in time to the millisecond; only json holds everything that a segment knows.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import TextIO

from .options import Segment, TranscriptionInfo

Writer = Callable[[Iterable[Segment], TranscriptionInfo, TextIO], None]


def write_txt(segments: Iterable[Segment], info: TranscriptionInfo, file: TextIO) -> None:
    """One line of text per segment."""
    for segment in segments:
        print(segment.text.strip(), file=file, flush=True)


def write_json(segments: Iterable[Segment], info: TranscriptionInfo, file: TextIO) -> None:
    """One object with the keys `language`, `segments` (a line each), `text` and `speculation` (what drafts proposed)."""
    print(f'{{"language": {json.dumps(info.language)}, "segments": [', file=file, end="", flush=True)
    text = []
    for number, segment in enumerate(segments):
        text.append(segment.text)
        line = json.dumps({"id": number, **dataclasses.asdict(segment)}, ensure_ascii=False)
        print(",\n" if number else "\n", line, sep="", end="", file=file, flush=True)
    found = info.statistics.speculation
    counts: dict[str, float | None] = {
        "verifications": found.verifications,
        "proposed": found.proposed,
        "accepted": found.accepted,
    }
    if found.verifications:  # what differs from run to run is there only where something was guessed
        counts |= {
            "tokens_per_verification": round(found.tokens_per_verification, 3),
            "draft_seconds": round(found.draft_seconds, 4),
            "main_seconds": round(found.main_seconds, 4),
            "gain": None if math.isnan(found.gain) else round(found.gain, 3),
        }
    speculation = json.dumps(counts)
    joined = json.dumps("".join(text), ensure_ascii=False)
    print(f'\n], "text": {joined}, "speculation": {speculation}}}', file=file, flush=True)


def write_srt(segments: Iterable[Segment], info: TranscriptionInfo, file: TextIO) -> None:
    """SubRip subtitles: numbered blocks, times as 00:00:01,234."""
    for number, segment in enumerate(segments, start=1):
        start, end = (subtitle_time(time, separator=",", hours=True) for time in (segment.start, segment.end))
        print(f"{number}\n{start} --> {end}\n{_subtitle_text(segment)}\n", file=file, flush=True)


def write_vtt(segments: Iterable[Segment], info: TranscriptionInfo, file: TextIO) -> None:
    """WebVTT subtitles: times as 00:01.234, with hours only where they are needed."""
    print("WEBVTT\n", file=file, flush=True)
    for segment in segments:
        start, end = (
            subtitle_time(time, separator=".", hours=False) for time in (segment.start, segment.end)
        )
        print(f"{start} --> {end}\n{_subtitle_text(segment)}\n", file=file, flush=True)


def write_tsv(segments: Iterable[Segment], info: TranscriptionInfo, file: TextIO) -> None:
    """Tab-separated start, end (milliseconds) and text, after a line of column names."""
    print("start", "end", "text", sep="\t", file=file, flush=True)
    for segment in segments:
        start, end = round(1000 * segment.start), round(1000 * segment.end)
        print(start, end, segment.text.strip().replace("\t", " "), sep="\t", file=file, flush=True)


WRITERS: Mapping[str, Writer] = {
    "txt": write_txt,
    "json": write_json,
    "srt": write_srt,
    "vtt": write_vtt,
    "tsv": write_tsv,
}


def subtitle_time(seconds: float, *, separator: str, hours: bool) -> str:
    """A time as [hh:]mm:ss<separator>mmm; `hours` writes them even where they are zero."""
    minutes, milliseconds = divmod(round(1000 * seconds), 60_000)
    whole_hours, minutes = divmod(minutes, 60)
    prefix = f"{whole_hours:02d}:" if hours or whole_hours else ""
    return f"{prefix}{minutes:02d}:{milliseconds // 1000:02d}{separator}{milliseconds % 1000:03d}"


def _subtitle_text(segment: Segment) -> str:
    return segment.text.strip().replace("-->", "->")  # the arrow would end the block's line of times
