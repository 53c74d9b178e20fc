"""An evaluation for people: a table of artifacts, what they do that nobody said, and the worst recordings."""

import math
from collections.abc import Sequence

from tabulate import tabulate

from .counts import aligned
from .evaluate import Evaluated
from .results import printable
from .scores import Interval, Scored


def format_evaluation(found: Sequence[Evaluated], worst: int) -> str:
    """All of it; `worst` recordings of each artifact are shown."""
    parts = [_rates(found), _suspicions(found)]
    if len(found) > 1:
        parts.append(_comparisons(found))
    parts += [text for item in found if (text := _worst(item, worst))]
    parts += [text for item in found if (text := _problems(item))]
    return "\n\n".join(parts)


def _rates(found: Sequence[Evaluated]) -> str:
    headers = ["artifact", "WER %", "95 %", "CER %", "S", "D", "I", "words", "recordings", "real-time factor"]
    rows = []
    for item in found:
        score = item.score
        rows.append([
            item.name, _percent(score.wer.value), _interval(score.wer), _percent(score.cer.value), score.substitutions,
            score.deletions, score.insertions, score.words, score.recordings, _factor(score.seconds, score.audio),
        ])  # fmt: skip
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1)))


def _suspicions(found: Sequence[Evaluated]) -> str:
    headers = [
        "artifact",
        "phrases repeated",
        "in recordings",
        "silent recordings",
        "with text",
        "words",
        "failed",
        "no transcript",
    ]
    rows = [
        [
            item.name, item.score.repeated, item.score.recordings_with_repeated, item.score.silent, item.score.written_on_silence,
            item.score.words_on_silence, item.score.failed, item.score.without_reference,
        ]
        for item in found
    ]  # fmt: skip
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1)))


def _comparisons(found: Sequence[Evaluated]) -> str:
    headers = [
        f"against {found[0].name}",
        "WER points",
        "95 %",
        "p",
        "better",
        "worse",
        "same",
        "same tokens %",
    ]
    rows = []
    for item in found[1:]:
        comparison = item.comparison
        assert comparison is not None
        tokens = "" if comparison.same_tokens is None else _percent(comparison.same_tokens)
        if not comparison.recordings:
            rows.append([item.name, *(["-"] * 3), 0, 0, 0, ""])
            continue
        rows.append([
            item.name, f"{100 * comparison.delta.value:+.2f}", _interval(comparison.delta, "+.2f"), f"{comparison.p_value:.3f}",
            comparison.better, comparison.worse, comparison.same, tokens,
        ])  # fmt: skip
    return tabulate(rows, headers, disable_numparse=True, colalign=("left", *["right"] * (len(headers) - 1)))


def worst_of(scored: Sequence[Scored], most: int) -> list[Scored]:
    """The recordings with the most word errors for their length, those with more errors first."""
    wrong = [item for item in scored if item.counts.errors]
    return sorted(wrong, key=lambda item: (-item.counts.wer, -item.counts.errors, item.result.key))[:most]


def _worst(item: Evaluated, most: int) -> str:
    blocks = [
        f"{printable(scored.result.key)}: WER {100 * scored.counts.wer:.0f} %, {scored.counts.substitutions} S {scored.counts.deletions} D "
        f"{scored.counts.insertions} I\n{aligned(scored.reference, scored.text)}"
        for scored in worst_of(item.scored, most)
    ]
    return "\n".join([f"Worst recordings of {item.name}", *blocks]) if blocks else ""


def _problems(item: Evaluated) -> str:
    lines = [printable(f"  {result.key}: {result.problem}") for result in item.others[:10]]
    if len(item.others) > len(lines):
        lines.append(f"  and {len(item.others) - len(lines)} more")
    return "\n".join([f"Left out of the score of {item.name}", *lines]) if lines else ""


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.2f}"


def _interval(interval: Interval, form: str = ".2f") -> str:
    if math.isnan(interval.value):
        return "-"
    return f"{100 * interval.low:{form}} to {100 * interval.high:{form}}"


def _factor(seconds: float, audio: float) -> str:
    return f"{seconds / audio:.3f}" if audio else "-"
