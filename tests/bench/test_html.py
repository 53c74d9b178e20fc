"""The page: what was measured stands in it, and nothing that a name says breaks it."""

import re
from dataclasses import replace
from pathlib import Path

import hypothesis
import matplotlib
import pytest

from edgewhisper.bench.html.drawing import svg
from edgewhisper.bench.html.markdown import render_markdown
from edgewhisper.bench.html.plots import draw_plots
from edgewhisper.bench.html.report import write_report
from edgewhisper.bench.html.sections import sections
from edgewhisper.bench.html.svg import inline_svg
from edgewhisper.bench.html.text import printable, shorten, significant
from edgewhisper.bench.run import Clip, Gain, Model, Run, Spread, Stage, Variant, WinogradError
from tests.bench.html_pages import (
    TEXTS,
    Element,
    Page,
    column,
    everything,
    page_of,
    read,
    read_headings,
    small_run,
    without_plots,
)
from tests.bench.sample_runs import BOARD, SERVER, sample_run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run with everything."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    write_report([sample_run()], page=path)
    return path


def test_every_variant_is_a_row_and_a_failed_one_says_why(written: Path) -> None:
    parts = read(written).all("section")
    for model in sample_run().models:
        table = next(
            part.all("table")[0] for part in parts if [each.text for each in part.all("h2")] == [model.name]
        )
        (body,) = table.all("tbody")
        assert [row.children[0].text for row in body.children] == [variant.name for variant in model.variants]
        for variant in model.variants:
            (row,) = (row for row in table.all("tr") if row.children[0].text == variant.name)
            assert variant.precision in row.text
            assert variant.failure is None or row.children[-1].text == f"failed: {variant.failure}"


def test_numbers_in_cells_are_those_of_the_run(written: Path) -> None:
    table = read(written).all("table")[0]
    titles = ("load, s", "first token, ms", "encoder, ms", "ms/token", "window, ms")
    kept = [variant for variant in sample_run().models[0].variants if variant.failure is None]
    first = kept[0]
    assert first.window_ms is not None
    for variant in kept:
        assert variant.window_ms is not None
        assert variant.accuracy is not None
        assert variant.peak is not None
        spreads = (
            variant.load,
            variant.first_token_ms,
            variant.encoder_ms,
            variant.token_ms,
            variant.window_ms,
        )
        for title, spread in zip(titles, spreads, strict=True):
            cell = column(table, title)[variant.name]
            assert spread is not None
            assert float(cell.attributes["data-value"]) == spread.median
            text = cell.text.partition("†")[0]
            shown = re.fullmatch(rf"({re.escape(significant(spread.median))}).*", text)
            assert shown is not None
            assert float(shown[1]) == pytest.approx(spread.median, rel=0.005)
        for title, value, scale in (
            ("real-time factor", variant.window_ms.median / 30_000, 1),
            ("speed-up", first.window_ms.median / variant.window_ms.median, 1),
            ("peak, MB", variant.peak, 1e6),
            ("steady, MB", variant.steady, 1e6),
            ("disk, MB", variant.disk, 1e6),
            ("CPU", variant.cpu, 1),
            ("joules", variant.joules, 1),
            ("WER, %", variant.accuracy.wer, 0.01),
            ("CER, %", variant.accuracy.cer, 0.01),
            ("WER change, points", variant.accuracy.delta and variant.accuracy.delta[0], 0.01),
        ):
            cell = column(table, title)[variant.name]
            if value is None:
                assert "data-value" not in cell.attributes
                continue
            assert float(cell.attributes["data-value"]) == pytest.approx(value, rel=1e-12)
            number = re.match(r"[+-]?\d+(\.\d+)?", cell.text.removesuffix("×"))
            assert number is not None
            assert float(number[0]) * scale == pytest.approx(value, rel=0.015, abs=0.005 * scale)


def test_a_gpu_is_named_and_its_memory_shown() -> None:
    ours = Variant("a", "e", "int8")
    on_gpu = Variant("b", "e", "fp16", {"provider": "cuda"}, device=712_000_000, same_text=0.9)
    run = Run("", replace(SERVER, gpu="NVIDIA <T4>, driver 1"), (Model("m", True, 1, (ours, on_gpu)),))
    page = without_plots(run)
    assert "GPUNVIDIA <T4>, driver 1" in page.all("dl")[0].text
    table = page.all("table")[0]
    assert column(table, "GPU, MB")["b"].attributes["data-value"] == "712000000"
    assert column(table, "same text, %")["b"].text == "90.00"
    assert "provider cuda" in table.text
    assert r"NVIDIA \<T4\>, driver 1" in render_markdown([run], sections([run]))
    plain = without_plots(Run("", SERVER, (Model("m", True, 1, (ours,)),)))
    assert "GPU" not in plain.text


def test_the_spread_and_disturbed_timings_stand_beside_the_median() -> None:
    variant = Variant("a", "e", "int8", encoder_ms=Spread(12.5, 11.0, 14.0, 3, disturbed=2))
    table = without_plots(Run("", SERVER, (Model("m", True, 1, (variant,)),))).all("table")[0]
    assert column(table, "encoder, ms")["a"].text == "12.5†211.0 to 14.0"


def test_a_variant_with_numbers_and_a_failure_shows_both() -> None:
    variant = Variant("a", "e", "int8", failure="ended by signal 9", token_ms=Spread.of([2.0]))
    table = without_plots(Run("", SERVER, (Model("m", True, 1, (variant,)),))).all("table")[0]
    (cell,) = column(table, "ms/token").values()
    assert float(cell.attributes["data-value"]) == 2.0
    assert "failed: ended by signal 9" in table.all("tbody")[0].text


def test_what_nobody_measured_has_neither_column_nor_plot(tmp_path: Path) -> None:
    page = page_of([small_run()], tmp_path)
    headings = {each.text for each in read_headings(page)}
    assert headings == {"Whisper benchmark", "Machine and run", "tiny", "Speed-up"}
    assert "joules" not in page.all("table")[0].text


def test_all_data_has_its_plot_with_a_description_and_a_caption(written: Path) -> None:
    figures = read(written).all("figure")
    model_plots = [
        "Speed-up",
        "Time, memory and accuracy",
        "Latency by length",
        "Memory over time",
        "Use of the machine",
    ]
    expected = [*model_plots, "Speculative decoding", *model_plots, "Fast convolutions", "Temperature"]
    headings = [each.text for each in read(written).all("h3")]
    assert sorted(headings) == sorted(expected)
    assert len(figures) == len(expected)
    for figure in figures:
        (drawing,) = figure.all("svg")
        assert drawing.attributes["role"] == "img"
        assert len(drawing.attributes["aria-label"]) > 40
        assert figure.all("figcaption")[0].text


def test_the_ladder_describes_every_speed_up() -> None:
    run = sample_run()
    base = replace(run, models=run.models[:1], winograd=(), temperatures=())
    plot = draw_plots([base], sections([base])).all[0]
    for variant in base.models[0].variants:
        first = base.models[0].variants[0].window_ms
        if variant.window_ms is not None and first is not None:
            assert f"{variant.name} {first.median / variant.window_ms.median:.2f}" in plot.description
    assert [round(bar.get_width(), 9) for bar in plot.figure.axes[0].patches] == sorted(
        round(first.median / variant.window_ms.median, 9)
        for variant in base.models[0].variants
        if variant.window_ms is not None and first is not None
    )


def test_the_page_loads_nothing_and_says_so_to_the_browser(written: Path) -> None:
    page = read(written)
    assert not page.all("link")
    assert not page.all("img")
    for element in everything(page):
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert element.attributes.get(name, "#").startswith("#")
        for value in element.attributes.values():
            assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", value))
    policies = [
        each.attributes["content"]
        for each in page.all("meta")
        if each.attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")
    assert not re.search(r"url\((?!#)|@import|https?:", (written).read_text("utf-8"))


def test_ids_are_unique_and_every_reference_has_one(written: Path) -> None:
    page = read(written)
    ids = [element.attributes["id"] for element in everything(page) if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in everything(page):
        for value in (element.attributes.get("href", ""), element.attributes.get("clip-path", "")):
            assert all(target in ids for target in re.findall(r"#([^)]+)", value))


def test_plots_have_the_colours_of_the_page_alone(written: Path) -> None:
    for drawing in read(written).all("svg"):
        for element in everything(drawing):
            assert not re.search("#[0-9a-f]{3}", element.attributes.get("style", ""))


def test_tables_have_headings_with_a_scope_and_a_caption(written: Path) -> None:
    for table in read(written).all("table"):
        assert table.all("caption")[0].text
        assert {each.attributes["scope"] for each in table.all("th")} <= {"row", "col", "colgroup"}
        widths = {
            sum(int(cell.attributes.get("colspan", 1)) for cell in row.children) for row in table.all("tr")
        }
        assert len(widths) == 1


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    runs = [small_run(), small_run(window=90)]
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        write_report(runs, page=folder / "page.html", images=folder, markdown=folder / "tables.md")
    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert first == second
    assert len(first) == 3


def test_what_the_user_set_for_matplotlib_changes_nothing(tmp_path: Path) -> None:
    write_report([small_run()], page=tmp_path / "plain.html")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "red"}):
        write_report([small_run()], page=tmp_path / "set.html")
    assert (tmp_path / "plain.html").read_bytes() == (tmp_path / "set.html").read_bytes()


@hypothesis.given(TEXTS, TEXTS, TEXTS)
def test_no_text_breaks_the_page(name: str, failure: str, command: str) -> None:
    ran = Variant(name, name, name, {name: failure}, window_ms=Spread.of([1.0]))
    failed = Variant(failure, name, name, failure=failure)
    machine = replace(SERVER, processor=name, board=failure, system=command)
    run = Run(command, machine, (Model(name, True, 5, (ran, failed)),), {name: failure}, command)
    page = without_plots(run)
    assert [each.tag for each in everything(page)] == [each.tag for each in everything(plain_page())]
    heading, row, failed_row = [each.text for each in page.all("table")[0].all("tr")][-3:]
    assert row.startswith(printable(name))
    assert f"{printable(name)} {printable(failure)}".strip() in row
    assert failed_row.startswith(printable(failure))
    assert failed_row.endswith(f"failed: {printable(failure)}")
    assert page.all("code")[0].text == printable(command)
    assert "name" in heading


def plain_page() -> Element:
    ran = Variant("a", "a", "a", {"a": "b"}, window_ms=Spread.of([1.0]))
    run = Run(
        "c",
        replace(SERVER, board="b"),
        (Model("a", True, 5, (ran, Variant("b", "a", "a", failure="b"))),),
        {"a": "b"},
        "c",
    )
    return without_plots(run)


@hypothesis.settings(max_examples=10)
@hypothesis.given(TEXTS)
def test_no_name_breaks_a_plot(name: str) -> None:
    run = small_run(name)
    (plot,) = draw_plots([run], sections([run])).all
    texts = [each.text.strip() for each in Page(inline_svg(svg(plot.figure), "plot", name)).root.all("text")]
    assert shorten(name, 38) in texts


def test_emoji_and_dollars_stay_text_in_plots(tmp_path: Path) -> None:
    page = page_of([small_run("$x^2$ & <b>\U0001f680")], tmp_path)
    assert "$x^2$ & <b>\U0001f680" in [each.text.strip() for each in page.all("text")]


def test_runs_of_one_model_share_a_table_and_the_first_baseline(tmp_path: Path) -> None:
    page = page_of([small_run(window=100), small_run("newer", window=80)], tmp_path)
    (table,) = page.all("table")
    assert len(table.all("tbody")[0].all("tr")) == 4
    speed_ups = {
        name: float(cell.attributes["data-value"]) for name, cell in column(table, "speed-up").items()
    }
    assert speed_ups["newer"] == 100 / 80
    assert column(table, "run")["newer"].text == "2"
    assert not warnings(page)


def test_runs_of_different_machines_carry_a_warning_and_baselines_of_their_own(tmp_path: Path) -> None:
    page = page_of([small_run(window=100), small_run("there", window=400, machine=BOARD)], tmp_path)
    (warning,) = warnings(page)
    assert SERVER.processor in warning
    assert str(BOARD.board) in warning
    assert float(column(page.all("table")[0], "speed-up")["there"].attributes["data-value"]) == 1.0


def test_a_machine_that_slowed_down_is_pointed_out(tmp_path: Path) -> None:
    (warning,) = warnings(page_of([small_run(throttled=True)], tmp_path))
    assert "throttled" in warning


def warnings(page: Element) -> list[str]:
    return [each.text for each in page.all("p") if each.attributes.get("class") == "warning"]


def test_the_head_says_where_and_how_the_run_was_made(written: Path) -> None:
    run = sample_run()
    (head,) = read(written).all("header")
    for expected in (run.command, run.machine.processor, run.machine.system, *run.machine.features):
        assert expected in head.text
    for package, version in run.models[0].variants[6].versions.items():
        assert f"{package} {version}" in head.text


@pytest.mark.parametrize(
    "run",
    [
        Run("", SERVER, ()),
        Run("", SERVER, (Model("m", True, 0, ()),)),
        Run("", SERVER, (Model("m", True, 0, (Variant("a", "e", "x", failure=""),)),)),
        Run(
            "",
            SERVER,
            (
                Model(
                    "m",
                    True,
                    0,
                    tuple(
                        Variant(
                            name,
                            "e",
                            "x",
                            window_ms=Spread.of([0.0]),
                            load=Spread.of([-1e-300]),
                            clips=(Clip(0.0, 0.0, 0.0, 0), Clip(1.0, 1.0, 1.0, 1)),
                            peak=0,
                            stages=(Stage("s", 0, 0, 0.0, 0.0, 0.0),),
                            memory_over_time=((0.0, 0),),
                            step_ms={"many": Spread.of([1e300])},
                        )
                        for name in "ab"
                    ),
                    (Gain(0.0, 0.0, 0.0, False),),
                ),
            ),
            winograd=(WinogradError("F", 0.0, "x", 0.0, 0.0),),
            temperatures=((0.0, 20.0),),
        ),
    ],
    ids=["nothing", "no variant", "a failure without a reason", "zeros"],
)
def test_runs_with_next_to_nothing_can_be_shown(run: Run, tmp_path: Path) -> None:
    write_report([run], page=tmp_path / "page.html", markdown=tmp_path / "tables.md")
    read(tmp_path / "page.html")
