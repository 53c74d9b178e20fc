"""How far a transcription has come, on standard error: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator

from edgewhisper.runtime.options import Segment, TranscriptionInfo

BAR_AFTER = 1.0  # seconds; what is done sooner needs no bar
SECONDS_BETWEEN_LINES = 10.0  # a log stays readable, and a watcher sees that it goes on


def show_progress(segments: Iterator[Segment], info: TranscriptionInfo, name: str) -> Iterator[Segment]:
    """Pass `segments` on and show, between them, how much of the recording `name` is done."""
    return _bar(segments, info, name) if sys.stderr.isatty() else _lines(segments, info, name)


def _bar(segments: Iterator[Segment], info: TranscriptionInfo, name: str) -> Iterator[Segment]:
    from tqdm import tqdm

    known = "{desc}: {percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} s [{elapsed}<{remaining}]"
    layout = known if info.duration else "{desc}: {n:.0f} s [{elapsed}]"
    with tqdm(
        total=info.duration, desc=name, bar_format=layout, delay=BAR_AFTER, leave=False, file=sys.stderr
    ) as bar:
        for segment in segments:
            bar.clear()  # text may go to the same terminal
            yield segment
            bar.update(info.processed - bar.n)


def _lines(segments: Iterator[Segment], info: TranscriptionInfo, name: str) -> Iterator[Segment]:
    whole = f" of {info.duration:.0f}" if info.duration else ""
    last_line = time.monotonic()
    for segment in segments:
        yield segment
        if time.monotonic() - last_line >= SECONDS_BETWEEN_LINES:
            last_line = time.monotonic()
            print(f"{name}: {info.processed:.0f}{whole} s", file=sys.stderr, flush=True)
