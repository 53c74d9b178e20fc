"""A report as plain text."""

from collections.abc import Sequence

from .choice import Candidate, Choice, Expected
from .report import Report


def format_report(report: Report) -> str:
    """A line for each check, advice below it, then what to use and what to expect, and what else would suit."""
    device = report.device
    width = max(len(check.about) for check in report.checks)
    lines = [f"edgewhisper {report.edgewhisper} on {device.board or device.processor or device.architecture}"]
    for check in report.checks:
        lines.append(f"{check.status:<7}  {check.about:<{width}}  {check.found}")
        if check.advice:
            lines.append(f"{'':<7}  {'':<{width}}  -> {check.advice} [{check.problem}]")
    if report.use is not None:
        lines += ["", *_use("use", report.use)]
    if report.recommended is not None and report.recommended != report.use:
        lines += ["", "Of OpenAI's models:", *_use("suits", report.recommended)]
    if report.candidates:
        lines += ["", *_candidates(report.candidates)]
    return "\n".join([*lines, "", _verdict(report)])


def _use(label: str, use: Choice) -> list[str]:
    options = f"--threads {use.threads}{' --low-memory' if use.low_memory else ''}"
    lines = [
        f"{label:<7}  {use.model}, {use.precision}, for {use.target}, {options}",
        f"because  {use.why}",
    ]
    if (found := use.expected) is None:
        return lines
    if found.how == "estimated":
        build = f"edgewhisper build {use.model} -o artifacts/{use.model} --precision {use.precision} --target {use.target}"
        lines.append(f"build    {build} (on a computer)")
    return [*lines, f"expect   {_expected(found)}"]


def _expected(found: Expected) -> str:
    text = (
        f"a short sentence in {_seconds(found.sentence)}, {found.real_time_factor:.2f} of the time that is spoken, "
        f"{found.memory / 1e6:,.0f} MB of memory, {found.disk / 1e6:,.0f} MB on disk"
    )
    parts = f"window {_seconds(found.encode)}, token {1e3 * found.token:.1f} ms"
    if found.how == "measured":
        assert found.load is not None
        return f"{text} (measured here: {parts}, loading {_seconds(found.load)})"
    return f"{text} (estimated from matrix products, perhaps wrong by a factor of two: {parts})"


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _candidates(candidates: Sequence[Candidate]) -> list[str]:
    rows = [("model", "memory", "sentence", "real time", "")]
    for each in candidates:
        found = each.expected
        rows.append(
            (
                each.model,
                f"{found.memory / 1e6:,.0f} MB",
                _seconds(found.sentence),
                f"{found.real_time_factor:.2f}",
                each.reason and f"no: {each.reason}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "estimated, in INT8:",
        *(
            f"  {row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]}".rstrip()
            for row in rows
        ),
    ]


def _verdict(report: Report) -> str:
    failed, warnings = (
        sum(check.status == status for check in report.checks) for status in ("failed", "warning")
    )
    if failed:
        return f"does not work: {failed} failed, {_counted(warnings)}"
    return f"works, {_counted(warnings)}"


def _counted(warnings: int) -> str:
    return f"{warnings or 'no'} warning{'' if warnings == 1 else 's'}"
