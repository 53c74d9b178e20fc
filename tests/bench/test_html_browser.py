"""The page in a browser: headless Chromium, driven by the DevTools protocol over two pipes."""

import base64
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgewhisper.bench.html.report import write_report
from tests.bench.sample_runs import BOARD, sample_run

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
PHONE = 360  # CSS pixels, the narrowest phones in use

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason=f"no browser: none of {', '.join(NAMES)} is on PATH"),
]


class Browser:
    """One tab; `problems` are errors and warnings that it reported."""

    def __init__(self, process: subprocess.Popen[bytes], commands: int, answers: int) -> None:
        self.problems: list[str] = []
        self._process = process
        self._commands, self._answers = commands, os.fdopen(answers, "rb", buffering=0)
        self._numbers = itertools.count(1)
        self._pending = b""
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: object) -> Any:
        """One command; events that come before its answer are kept if they are problems."""
        number = next(self._numbers)
        message: dict[str, object] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self) -> Any:
        while b"\0" not in self._pending:
            received = self._answers.read(1 << 16)
            assert received, f"the browser ended with {self._process.poll()}"
            self._pending += received
        line, _, self._pending = self._pending.partition(b"\0")
        message = json.loads(line)
        if message.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.problems.append(json.dumps(message["params"]))
        return message

    def open(self, page: Path, width: int = 1280, scheme: str = "light", media: str = "screen") -> None:
        """Show a page in a window of so many CSS pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 500,
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=media, features=features)
        self.call("Page.navigate", url=page.as_uri())
        while (
            self.evaluate("document.readyState") != "complete"
            or self.evaluate("location.href") != page.as_uri()
        ):
            pass

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """A key, as from a keyboard."""
        codes = {"Enter": 13, "Tab": 9}
        event = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **event, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **event)

    def screenshot(self) -> bytes:
        """The whole page as PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    profile = tmp_path_factory.mktemp("profile")
    (there_read, there_write), (back_read, back_write) = os.pipe(), os.pipe()
    command = [
        str(CHROMIUM),
        "--headless=new",
        "--remote-debugging-pipe",  # reads commands from descriptor 3, writes answers to 4
        f"--user-data-dir={profile}",
        "--no-sandbox",
        "--no-first-run",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
    ]
    shell = f'exec "$@" 3<&{there_read} 4>&{back_write} 2>/dev/null'
    process = subprocess.Popen(["bash", "-c", shell, "bash", *command], pass_fds=(there_read, back_write))
    os.close(there_read)
    os.close(back_write)
    opened = Browser(process, there_write, back_read)
    yield opened
    opened._session = None
    opened.call("Browser.close")
    process.wait(timeout=30)
    os.close(there_write)
    opened._answers.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, and a name that has no place to break."""
    run = sample_run()
    first, *others = run.models[0].variants
    long = replace(first, name="edgewhisper_" + "int8_static_" * 12 + "<b>&\U0001f680")
    path = tmp_path_factory.mktemp("page") / "page.html"
    longer = replace(run, models=(replace(run.models[0], variants=(long, *others)), *run.models[1:]))
    write_report([longer, sample_run(BOARD, slower=4.0)], page=path)
    return path


@pytest.fixture(autouse=True)
def no_problems(browser: Browser) -> Iterator[None]:
    """Whatever is shown, the console stays empty."""
    browser.problems.clear()
    yield
    assert browser.problems == []


@pytest.mark.parametrize("media", ["screen", "print"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, 768, 1440])
def test_the_page_never_scrolls_sideways(
    browser: Browser, page: Path, width: int, scheme: str, media: str
) -> None:
    browser.open(page, width, scheme, media)
    if media == "screen":
        assert browser.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        assert browser.evaluate("innerWidth") == width  # a phone would zoom out to show what is wider
    assert browser.screenshot().startswith(b"\x89PNG")


def test_wide_tables_scroll_in_frames_of_their_own(browser: Browser, page: Path) -> None:
    browser.open(page, PHONE)
    frame = "document.querySelector('.scroll:has(table)')"
    assert browser.evaluate(f"{frame}.scrollWidth > {frame}.clientWidth")
    browser.evaluate(f"{frame}.scrollLeft = 400")
    place = f"{frame}.querySelector('tbody th').getBoundingClientRect().left"
    assert browser.evaluate(place) == pytest.approx(
        browser.evaluate(f"{frame}.getBoundingClientRect().left"), abs=2
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_on_its_ground(browser: Browser, page: Path, scheme: str) -> None:
    """Contrast of at least 4.5, as WCAG 2 asks of small text, and 3 for lines and bars."""
    browser.open(page, scheme=scheme)
    names = ["text", "muted", "accent", "bad", *(f"series-{number}" for number in range(1, 9))]
    colours = {
        name: browser.evaluate(f"getComputedStyle(document.body).getPropertyValue('--{name}')")
        for name in names
    }
    for ground in ("surface", "page"):
        behind = browser.evaluate(f"getComputedStyle(document.body).getPropertyValue('--{ground}')")
        for name, colour in colours.items():
            assert contrast(colour, behind) >= (3 if name.startswith("series") else 4.5), (name, ground)
    fill = browser.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert [int(part) for part in fill[4:-1].split(",")] in (rgb(colours["text"]), rgb(colours["muted"]))


def rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour.strip().removeprefix("#")))


def contrast(first: str, second: str) -> float:
    """Of two colours (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio)."""

    def luminance(colour: str) -> float:
        parts = [part / 255 for part in rgb(colour)]
        red, green, blue = (
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def shown_values(browser: Browser, index: int) -> list[str | None]:
    """`data-value` of a column of the first table from top to bottom, null where there is none."""
    cells = f"[...document.querySelector('table').tBodies[0].rows].map((row) => row.cells[{index}]?.dataset.value ?? null)"
    values: list[str | None] = browser.evaluate(cells)
    return values


def heading_of(browser: Browser, title: str) -> int:
    headings = "[...document.querySelector('table').querySelectorAll('th[data-sort]')].map((each) => each.textContent)"
    titles: list[str] = browser.evaluate(headings)
    return titles.index(title)


def order_said(browser: Browser) -> list[str]:
    said: list[str] = browser.evaluate(
        "[...document.querySelectorAll('th[aria-sort]')].map((each) => each.getAttribute('aria-sort'))"
    )
    return said


def test_a_click_sorts_numbers_and_what_is_missing_stays_last(browser: Browser, page: Path) -> None:
    browser.open(page)
    index = heading_of(browser, "joules")
    written = shown_values(browser, index)
    numbers = sorted(float(value) for value in written if value is not None)
    button = f"document.querySelectorAll('table th[data-sort] button')[{index}]"
    missing = [None] * (len(written) - len(numbers))
    for order, expected in (("ascending", numbers), ("descending", numbers[::-1])):
        browser.evaluate(f"{button}.click()")
        shown = shown_values(browser, index)
        assert [None if value is None else float(value) for value in shown] == [*expected, *missing]
        assert order_said(browser) == [order]
    browser.evaluate(f"{button}.click()")
    assert shown_values(browser, index) == written
    assert order_said(browser) == []


def test_the_keyboard_sorts_too(browser: Browser, page: Path) -> None:
    browser.open(page)
    index = heading_of(browser, "window, ms")
    browser.evaluate(f"document.querySelectorAll('table th[data-sort] button')[{index - 1}].focus()")
    browser.press("Tab")
    browser.press("Enter")
    values = [float(value) for value in shown_values(browser, index) if value is not None]
    assert values == sorted(values)
    assert order_said(browser) == ["ascending"]


def test_names_sort_as_people_read_them(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.evaluate("document.querySelector('table th[data-sort] button').click()")
    names = "[...document.querySelector('table').tBodies[0].rows].map((row) => row.cells[0].textContent)"
    shown: list[str] = browser.evaluate(names)
    assert "<b>&\U0001f680" in "".join(shown)
    kept = [name for name in shown if name.startswith(("faster", "optimum", "transformers", "whisper"))]
    assert kept == sorted(kept)
    assert len(shown) == sum(len(run.models[0].variants) for run in (sample_run(), sample_run(BOARD)))
