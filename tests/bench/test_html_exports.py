"""The report as images and Markdown, and the command that writes it."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest

from edgewhisper.bench.html.markdown import render_markdown
from edgewhisper.bench.html.report import write_report
from edgewhisper.bench.html.sections import sections
from edgewhisper.bench.html.text import significant
from edgewhisper.bench.run import Model, Run, Spread, Variant, write_run
from edgewhisper.errors import OutputError
from tests.bench.html_pages import TEXTS, read, small_run
from tests.bench.sample_runs import SERVER, sample_run
from tests.conftest import Command


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the images and tables of one model with everything."""
    folder = tmp_path_factory.mktemp("report")
    run = replace(sample_run(), models=sample_run().models[:1])
    write_report([run], images=folder / "plots", markdown=folder / "tables.md")
    return folder


def test_each_plot_is_an_image_too(written: Path) -> None:
    images = list((written / "plots").iterdir())
    subjects = ["speed-up", "trade-off", "latency", "memory", "roofline", "speculation"]
    of_model = {f"1-base.en-{subject}" for subject in subjects}
    assert {image.stem for image in images} == {*of_model, "winograd", "temperature"}
    for image in images:
        assert image.suffix == ".png"
        assert image.read_bytes().startswith(b"\x89PNG")


def test_images_leave_other_files_of_their_folder_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    write_report([small_run()], images=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.txt", "1-tiny-speed-up.png"}


def markdown_rows(text: str) -> list[list[str]]:
    """The cells of all lines of tables, as they are read."""
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in text.splitlines() if line.startswith("|")]
    return [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row] for row in rows]


def test_markdown_has_the_rows_of_the_page(written: Path) -> None:
    headings, _, *rows = markdown_rows((written / "tables.md").read_text("utf-8"))
    for variant, row in zip(sample_run().models[0].variants, rows, strict=False):
        cells = dict(zip(headings, row, strict=True))
        if variant.failure is not None:
            assert cells["name"] == f"{variant.name} (failed: {variant.failure})"
            assert cells["window, ms"] == "–"
        elif variant.window_ms is not None:
            assert cells["name"] == variant.name
            assert cells["window, ms"].startswith(f"{significant(variant.window_ms.median)} (")


@hypothesis.given(TEXTS, TEXTS)
def test_no_text_breaks_a_markdown_table(name: str, failure: str) -> None:
    variants = (
        Variant(name, "e", failure, window_ms=Spread.of([1.0])),
        Variant(failure, "e", name, failure=failure),
    )
    run = Run("", SERVER, (Model("m", True, 5, variants),))
    lines = render_markdown([run], sections([run])).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len(variants)
    assert len({len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}) == 1
    assert not re.search(r"(?<!\\)<", "".join(rows))


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"none/page\.html: cannot be written"):
        write_report([small_run()], page=tmp_path / "none" / "page.html")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file: cannot be made"):
        write_report([small_run()], images=tmp_path / "file")


def test_the_command_writes_what_is_asked_for(tmp_path: Path, command: Command) -> None:
    write_run(small_run(), tmp_path / "run.json")
    outcome = command(
        "report", tmp_path / "run.json", "-o", tmp_path / "page.html", "--markdown", tmp_path / "t.md"
    )
    written = f"{tmp_path / 'page.html'}\n{tmp_path / 't.md'}\n"
    assert (outcome.code, outcome.out, outcome.err) == (0, written, "")
    assert "ours" in read(tmp_path / "page.html").all("table")[0].text
    assert "| ours" in (tmp_path / "t.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["-o", "page.html"], 2, ["RUN"]),
        (["run.json"], 2, ["nothing to write", "-o"]),
        (["none.json", "-o", "page.html"], 2, ["none.json", "cannot be read"]),
        (["text.json", "-o", "page.html"], 2, ["text.json", "not JSON"]),
        (["other.json", "-o", "page.html"], 2, ["other.json", "not a benchmark run"]),
        (["newer.json", "-o", "page.html"], 2, ["newer.json", "upgrade"]),
        (["run.json", "-o", "none/page.html"], 1, ["none", "cannot be written"]),
        (["run.json", "-o", "run.json"], 2, ["run.json", "one of the runs"]),
        (["run.json", "-o", "same", "--markdown", "same"], 2, ["same file"]),
        (["run.json", "--png", "run.json"], 2, ["is a file"]),
        (["run.json", "--png", ""], 2, ["name is empty"]),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str],
    code: int,
    words: list[str],
    tmp_path: Path,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(small_run(), Path("run.json"))
    Path("text.json").write_text("report")
    Path("other.json").write_text("{}")
    Path("newer.json").write_text('{"schema": "edgewhisper-run", "version": 1000}')
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    command("report", *arguments).assert_refused(code, *words)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("option", "missing", "extra"), [("-o", "matplotlib", "eval"), ("--markdown", "tabulate", "build")]
)
def test_a_missing_package_is_named_with_what_installs_it(
    option: str, missing: str, extra: str, tmp_path: Path
) -> None:
    write_run(small_run(), tmp_path / "run.json")
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from edgewhisper.cli.main import main; sys.exit(main(sys.argv[2:]))"
    )
    arguments = [missing, "report", str(tmp_path / "run.json"), option, str(tmp_path / "out")]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert missing in line
    assert f"pip install edgewhisper[{extra}]" in line


def test_markdown_alone_needs_no_matplotlib(tmp_path: Path) -> None:
    write_run(small_run(), tmp_path / "run.json")
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from edgewhisper.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["report", str(tmp_path / "run.json"), "--markdown", str(tmp_path / "t.md")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    assert "| ours" in (tmp_path / "t.md").read_text()
