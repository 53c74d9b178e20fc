"""What a listener heard, as lines of text or JSON."""

import dataclasses
import json
import shutil
import sys
from collections.abc import Iterable
from typing import TextIO

from edgewhisper.runtime.listening.heard import Dropped, Heard, Partial, Utterance
from edgewhisper.runtime.memory import peak_memory
from edgewhisper.runtime.writers import subtitle_time

from .outputs import standard_output

HEARD_FORMATS = ("txt", "json")

_CLEAR_LINE, _GOES_ON = "\r\x1b[K", " ..."
_KINDS = {Utterance: "utterance", Partial: "partial", Dropped: "dropped"}


def write_heard(listener: Iterable[Heard], extension: str, verbose: bool) -> None:
    """Write what is heard, each at once; in the end a line on standard error sums up.

    Raises:
        AudioError: from the listener.
        OutputError: standard output cannot be written.
    """
    write = _write_json if extension == "json" else _write_text
    totals = _Totals()
    with standard_output() as file:
        for heard in listener:
            write(heard, file)
            if isinstance(heard, Dropped):
                print(_dropped(heard), file=sys.stderr, flush=True)
            elif isinstance(heard, Utterance):
                totals.add(heard)
                if verbose:
                    print(_described(heard), file=sys.stderr, flush=True)
    print(totals.closing_line(), file=sys.stderr, flush=True)


@dataclasses.dataclass
class _Totals:
    """Sums over what was said."""

    utterances: int = 0
    latency: float = 0.0
    slowest: float = 0.0
    latency_from_voice: float = 0.0

    def add(self, utterance: Utterance) -> None:
        self.utterances += 1
        self.latency += utterance.latency
        self.slowest = max(self.slowest, utterance.latency)
        self.latency_from_voice += utterance.latency_from_voice

    def closing_line(self) -> str:
        count = self.utterances
        parts = ["1 utterance" if count == 1 else f"{count} utterances"]
        if count:
            parts += [
                f"text {self.latency / count:.3f} s after the end was noticed on average ({self.slowest:.3f} s at most)",
                f"{self.latency_from_voice / count:.3f} s after the last voice",
            ]
        return ", ".join([*parts, f"peak memory {peak_memory() / 1e6:.0f} MB"])


def _write_json(heard: Heard, file: TextIO) -> None:
    line = {"type": _KINDS[type(heard)], **dataclasses.asdict(heard)}
    print(json.dumps(line, ensure_ascii=False), file=file, flush=True)


def _write_text(heard: Heard, file: TextIO) -> None:
    """Utterances on lines of their own; on a terminal what is stable stands there until then, elsewhere on standard error."""
    redraws = file.isatty()
    if isinstance(heard, Utterance):
        print(_CLEAR_LINE if redraws else "", heard.text, sep="", file=file, flush=True)
    elif redraws and isinstance(heard, Partial) and heard.text:
        room = shutil.get_terminal_size().columns - len(_GOES_ON) - 1  # a line that wraps cannot be redrawn
        print(_CLEAR_LINE, heard.text[-room:], sep="", end=_GOES_ON, file=file, flush=True)
    elif redraws:  # what stands there will not become an utterance
        print(_CLEAR_LINE, end="", file=file, flush=True)
    elif isinstance(heard, Partial):
        print(f"... {heard.text or '(nothing was said)'}", file=sys.stderr, flush=True)


def _described(heard: Utterance) -> str:
    start, end = (subtitle_time(time, separator=".", hours=False) for time in (heard.start, heard.end))
    return (
        f"[{start} --> {end}] {heard.language}, confidence {heard.confidence:.2f}, ended by {heard.ended_by}; text "
        f"{heard.latency:.3f} s after the end was noticed, {heard.latency_from_voice:.3f} s after the last voice"
    )


def _dropped(heard: Dropped) -> str:
    return (
        f"what was said from {heard.start:.1f} to {heard.end:.1f} s was dropped: decoding does not keep up; take a smaller "
        "model or more threads"
    )
