"""Pages read back, and small runs to make them of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from hypothesis import strategies as st

from edgewhisper.bench.html.page import render_page
from edgewhisper.bench.html.plots import Plots
from edgewhisper.bench.html.report import write_report
from edgewhisper.bench.html.sections import sections
from edgewhisper.bench.html.text import printable
from edgewhisper.bench.run import Machine, Model, Run, Spread, Variant
from tests.bench.sample_runs import SERVER

# Names that HTML, SVG, Markdown or matplotlib could take for something else.
TEXTS = st.text(
    st.one_of(st.sampled_from("<>&\"'`$\\|*_[]{}\0\n\u202e\ud800\U0001f680é"), st.characters()),
    min_size=1,
    max_size=20,
).filter(lambda text: bool(printable(text)))


VOID = {"meta", "br", "hr", "img", "input", "link"}


@dataclass
class Element:
    """An element of a page; `text` is all that it and what is in it says."""

    tag: str
    attributes: dict[str, str]
    children: list["Element"] = field(default_factory=list)
    text: str = ""

    def all(self, tag: str) -> list["Element"]:
        """Those below it, in the order of the page."""
        found = [self] if self.tag == tag else []
        return [*found, *(each for child in self.children for each in child.all(tag))]


class Page(HTMLParser):
    """Reads a page whose every element is closed, in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]
        self.feed(page)
        self.close()
        assert self._open == [self.root], "elements that are not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def read(path: Path) -> Element:
    return Page(path.read_text("utf-8")).root


def everything(element: Element) -> list[Element]:
    return [element, *(each for child in element.children for each in everything(child))]


def read_headings(page: Element) -> list[Element]:
    return [each for tag in ("h1", "h2", "h3") for each in page.all(tag)]


def column(table: Element, title: str) -> dict[str, Element]:
    """Name of the row -> its cell."""
    headings = [each.text for each in table.all("th") if "data-sort" in each.attributes]
    rows = [row for body in table.all("tbody") for row in body.all("tr")]
    place = headings.index(title)
    return {row.children[0].text: row.children[place] for row in rows if len(row.children) == len(headings)}


def small_run(
    name: str = "ours", window: float = 100.0, machine: Machine = SERVER, *, throttled: bool | None = None
) -> Run:
    """One model with a variant, and another of half the speed."""
    first = Variant(name, "edgewhisper", "int8", window_ms=Spread.of([window]))
    other = Variant("other", "peer", "int8", window_ms=Spread.of([2 * window]))
    model = Model("tiny", True, 200, (first, other))
    return Run("2026-01-01T00:00:00+00:00", machine, (model,), throttled=throttled)


def page_of(runs: Sequence[Run], folder: Path) -> Element:
    write_report(runs, page=folder / "page.html")
    return read(folder / "page.html")


def without_plots(run: Run) -> Element:
    found = sections([run])
    return Page(render_page([run], found, Plots(((),) * len(found), ()))).root
