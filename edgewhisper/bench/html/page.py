"""The page: head, a section for each model, and what belongs to whole runs."""

from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from operator import itemgetter

from edgewhisper.bench.run import Run

from .detail_tables import detail_tables, winograd_table
from .drawing import Plot
from .markup import escape, figure, html_table, terms
from .plots import Plots
from .sections import Entry, Section, warnings_about
from .text import megabytes, percent, plural, significant
from .variants_table import variants_table

# A browser that shows the page asks no other place for anything.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def render_page(runs: Sequence[Run], sections: Sequence[Section], plots: Plots) -> str:
    """The whole document."""
    style, script = (files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "sort.js"))
    body = [*_head(runs, sections), "<main>\n"]
    for number, (section, drawn) in enumerate(zip(sections, plots.of_sections, strict=True), 1):
        body += _section(section, drawn, number)
    body += [*_of_runs(runs, plots.of_runs), "</main>\n"]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(_title(sections))}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f"{''.join(body)}<script>\n{script}</script>\n</body>\n</html>\n"
    )


def _title(sections: Sequence[Section]) -> str:
    return ": ".join(
        ["Whisper benchmark", *([", ".join(each.name for each in sections)] if sections else [])]
    )


def _head(runs: Sequence[Run], sections: Sequence[Section]) -> Iterator[str]:
    variants = [entry.variant for section in sections for entry in section.entries]
    counts = [plural(len(sections), "model"), plural(len(variants), "variant")]
    if failed := sum(variant.failure is not None for variant in variants):
        counts.append(f"{failed} of them failed")
    yield f'<header>\n<h1>Whisper benchmark</h1>\n<p class="lead">{", ".join(counts)}.</p>\n'
    for warning in warnings_about(runs):
        yield f'<p class="warning" role="note">{escape(warning)}</p>\n'
    for number, run in enumerate(runs, 1):
        yield _run(run, f"Run {number}" if len(runs) > 1 else "Machine and run")
    if len(sections) > 1:
        links = "".join(
            f'<li><a href="#model-{number}">{escape(section.name)}</a></li>\n'
            for number, section in enumerate(sections, 1)
        )
        yield f'<nav aria-label="Models">\n<ul>\n{links}</ul>\n</nav>\n'
    yield "</header>\n"


def _run(run: Run, heading: str) -> str:
    machine = run.machine
    short = [
        ("date", run.when.replace("T", " ").replace("+00:00", " UTC")),
        ("board", machine.board or ""),
        ("processor", f"{machine.processor}, {machine.architecture}"),
        ("cores", str(machine.cores)),
        ("GPU", machine.gpu or ""),
        ("memory", f"{significant(machine.memory / 1e9)} GB"),
        ("system", machine.system),
        ("Python", machine.python),
        ("slowed down", "" if run.throttled is None else "yes" if run.throttled else "no"),
    ]
    long = [
        ("features", escape(", ".join(machine.features))),
        ("versions", escape("; ".join(_versions(run)))),
    ]
    if run.command:
        long.append(("command", f"<code>{escape(run.command)}</code>"))
    listed = terms("short", [(term, escape(value)) for term, value in short]) + terms("wide", long)
    return f'<section class="run">\n<h2>{escape(heading)}</h2>\n{listed}</section>\n'


def _versions(run: Run) -> Iterator[str]:
    """Of the run, then of each engine, which may have packages of its own."""
    if run.versions:
        yield _packages(run.versions)
    found = [
        f"{variant.engine}: {_packages(variant.versions)}"
        for model in run.models
        for variant in model.variants
        if variant.versions and variant.versions != run.versions
    ]
    yield from dict.fromkeys(found)


def _packages(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _best(section: Section) -> str:
    """Who wins in what, where there is a choice."""
    found = []
    for term, value, show in _BEST:
        measured = [
            (of_entry, entry.label) for entry in section.entries if (of_entry := value(entry)) is not None
        ]
        if len(measured) > 1:
            least, label = min(measured, key=itemgetter(0))
            found.append((term, f"<strong>{escape(show(least))}</strong>{escape(label)}"))
    return terms("best", found)


def _wer(entry: Entry) -> float | None:
    return None if entry.variant.accuracy is None else entry.variant.accuracy.wer


_BEST: tuple[tuple[str, Callable[[Entry], float | None], Callable[[float], str]], ...] = (
    ("fastest window", lambda entry: entry.window_ms, lambda value: f"{significant(value)} ms"),
    ("least memory", lambda entry: entry.variant.peak, lambda value: f"{megabytes(value)} MB"),
    ("lowest word error rate", _wer, lambda value: f"{percent(value)} %"),
)


def _section(section: Section, plots: Sequence[Plot], number: int) -> Iterator[str]:
    yield f'<section id="model-{number}">\n<h2>{escape(section.name)}</h2>\n{_best(section)}'
    yield html_table(variants_table(section))
    yield _figures(plots, f"model-{number}")
    yield _more(list(map(html_table, detail_tables(section))))
    yield "</section>\n"


def _of_runs(runs: Sequence[Run], plots: Sequence[Plot]) -> Iterator[str]:
    found = winograd_table(runs)
    if plots or found is not None:
        yield "<section>\n<h2>Independent of the model</h2>\n"
        yield _figures(plots, "runs")
        yield _more([] if found is None else [html_table(found)])
        yield "</section>\n"


def _figures(plots: Sequence[Plot], prefix: str) -> str:
    drawn = "".join(figure(plot, f"{prefix}-{number}") for number, plot in enumerate(plots, 1))
    return f'<div class="plots">\n{drawn}</div>\n' if drawn else ""


def _more(tables: Sequence[str]) -> str:
    return f"<details>\n<summary>More numbers</summary>\n{''.join(tables)}</details>\n" if tables else ""
