"""The page of a comparison in a real browser, without a screen and without a network."""

import csv
import shutil
from contextlib import contextmanager
from itertools import pairwise

import pytest
from playwright.sync_api import sync_playwright

from safeloop.report.page.figures import INK
from safeloop.report.statistics import Aggregate
from safeloop.report.style import COLOURS
from safeloop.report.tables import interval, number, percent
from tests.report.conftest import EVIL

NAMES = ("chromium", "chromium-browser", "google-chrome")
HELPERS = """
globalThis.models = type => Bokeh.documents.flatMap(doc => doc.roots()).flatMap(root => [...root.references()])
  .filter(model => model.type === type);
globalThis.renderers = algo => models("GlyphRenderer").filter(model => model.tags.includes(`algo ${algo}`));
globalThis.lines = text => [...document.querySelectorAll("tr[data-algo], li[data-algo]")]
  .filter(line => line.checkVisibility() && line.textContent.includes(text)).length;
globalThis.place = wanted => {
  for (const view of [...Bokeh.index].filter(view => view.model.type === "Figure")) {
    const found = view.model.renderers.find(wanted);
    if (!found) continue;
    view.el.scrollIntoView({ block: "center" });
    const { x, y, algo } = found.data_source.data, last = x.length - 1, box = view.canvas.el.getBoundingClientRect();
    return { x: box.x + view.frame.x_scale.compute(x[last]), y: box.y + view.frame.y_scale.compute(y[last]),
             algo: algo[last], steps: x[last] };
  }
};
"""
"""What the tests ask of a page: models of BokehJS, visible lines of text, and where a figure's last point is."""


@pytest.fixture(scope="session")
def chromium():
    """Chromium as the system has it."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail("no Chromium to open the page with: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Open a page; where an error, a message of a policy or a request comes, the test fails at its end."""

    @contextmanager
    def open_(file, width=1280, scheme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True, reduced_motion="reduce"
        )
        context.add_init_script(HELPERS)
        tab, faults = context.new_page(), []
        tab.on("console", lambda message: message.type in ("error", "warning") and faults.append(message.text))
        tab.on("pageerror", lambda error: faults.append(str(error)))
        tab.on("dialog", lambda dialog: faults.append(dialog.message))
        tab.on("request", lambda request: request.url != file.as_uri() and faults.append(request.url[:200]))
        tab.goto(file.as_uri())
        tab.wait_for_selector("body[data-figures=ready]")
        yield tab
        context.close()
        assert faults == []

    return open_


def cells(tab, table, run):
    """The texts of a line of a table, by heading."""
    line = tab.locator(f"table.{table} tr").filter(has=tab.locator("th[scope=row]", has_text=run)).first
    columns = line.locator("td").evaluate_all("all => all.map(e => [e.dataset.label, e.textContent.trim()])")
    return dict(columns)


def table(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def seen(tab, algo):
    """Whether renderers of an algorithm are visible: all values that there are."""
    return set(tab.evaluate("algo => renderers(algo).map(each => each.visible)", algo))


def shown(of, text=number, digits=None):
    """A number of a CSV file as tables show it; blank where there is none."""
    if of == "":
        return ""
    return text(float(of)) if digits is None else text(float(of), digits)


def pointed_at(tab):
    """The texts beside the pointer."""
    texts = tab.locator(".bk-tooltip-row-value")
    texts.first.wait_for(timeout=5000)
    return " ".join(texts.all_inner_texts())


def test_estimates_are_those_of_the_table_of_aggregates(page, recorded, opened):
    with opened(page) as tab:
        for task in ("PointGoal1", "HalfCheetah"):
            section = tab.locator(f"section[aria-labelledby]:has(h2:text-is('{task}'))")
            for line in table(recorded / task / "aggregates.csv"):
                row = section.locator("table.estimates tr", has=tab.locator(f"th:text-is('{line['algo']}')"))
                found = dict(
                    row.locator("td").evaluate_all("all => all.map(e => [e.dataset.label, e.textContent.trim()])")
                )
                columns = {"evaluation_return": "evaluation return"}
                if task == "PointGoal1":
                    columns |= {
                        "evaluation_cost_return": "evaluation cost", "steps_to_budget": "steps to budget",
                        "violations_per_1000": "violations per 1,000 steps",
                    }  # fmt: skip
                else:
                    columns["score"] = "score"
                for column, heading in columns.items():
                    parts = [line[f"{column}{end}"] for end in ("_median", "", "_low", "_high")]
                    median, iqm, low, high = (float(part) if part else None for part in parts)
                    expected = "" if iqm is None else interval(Aggregate(3, 0.0, median, iqm, low, high))
                    assert found[heading] == expected, (task, line["algo"], column)
                if task == "PointGoal1":
                    assert found["CVaR"] == shown(line["evaluation_cvar"])
                    assert found["over budget"] == shown(line["evaluation_over_budget"], percent)
                    assert found["longest run"] == ""  # was not recorded
                seeds = line["n"] if line["n"] == line["runs"] else f"{line['n']} of {line['runs']}"
                assert found["seeds"] == seeds


def test_every_run_is_that_of_the_summary(page, recorded, opened):
    with opened(page) as tab:
        for line in table(recorded / "PointGoal1" / "summary.csv"):
            found = cells(tab, "all-runs", f"{line['algo']} seed {line['seed']}")
            assert found["state"] == line["state"]
            for column, heading, digits in (
                ("steps", "steps", 0), ("training_return", "training return", None), ("violations", "violations", 0),
                ("training_cost_return", "training cost", None), ("evaluation_return", "evaluation return", None),
                ("evaluation_cost_return", "evaluation cost", None), ("evaluation_cvar", "CVaR", None),
                ("training_minutes", "training minutes", 1),
            ):  # fmt: skip
                assert found[heading] == shown(line[column], number, digits), (line["algo"], column)


def test_points_of_figures_are_those_of_the_tables(page, recorded, opened):
    """Large points are the runs' means, markers in the tail the CVaR of all episodes."""
    with opened(page) as tab:
        data = tab.evaluate(
            """models("ColumnDataSource").map(source => source.data).filter(data => data.fill)
            .flatMap(({ algo, seed, x, y }) => [...x].map((_, i) => [algo[i], seed[i], x[i], y[i]]))"""
        )
        marks = tab.evaluate(
            "models('GlyphRenderer').filter(m => m.glyph.size?.value === 11).map(m => m.data_source.data.y[0])"
        )
    runs = {(algo, seed): (x, y) for algo, seed, x, y in data}
    summary = [line for line in table(recorded / "PointGoal1" / "summary.csv") if line["evaluation_return"]]
    for line in summary:
        expected = (float(line["evaluation_cost_return"]), float(line["evaluation_return"]))
        assert runs[line["algo"], line["seed"]] == pytest.approx(expected, rel=1e-5)
    cvars = {float(line["evaluation_cvar"]) for line in table(recorded / "PointGoal1" / "aggregates.csv")}
    assert sorted(marks) == pytest.approx(sorted(cvars), rel=1e-5)


def test_filters_by_mouse_reach_tables_legends_figures_and_commands(page, opened):
    with opened(page) as tab:
        number_ = tab.locator("input[name=algo]").count()
        assert number_ == 7 and tab.inner_text("#shown") == "34 of 34 runs are shown."
        tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        cpo = tab.get_by_label("cpo", exact=True)
        place, before = cpo.get_attribute("value"), tab.evaluate("lines", "cpo")
        assert before > 4 and seen(tab, place) == {True}
        cpo.click()
        assert tab.inner_text("#shown") == "30 of 34 runs are shown."
        assert tab.evaluate("lines", "cpo") == 0 and tab.evaluate("lines", "ppo-lag") > 4
        assert seen(tab, place) == {False}
        tab.get_by_label("ppo-lag").click()
        assert not tab.locator("caption", has_text="paper; privileged information: nothing").is_visible()
        tab.get_by_label("published by others").click()
        assert tab.locator("text=RCE-PETS").count() == 1 and not tab.locator("text=RCE-PETS").is_visible()
        tab.get_by_role("checkbox", name="PointGoal1").uncheck()
        assert not tab.locator("h2", has_text="PointGoal1").is_visible()
        assert tab.locator("h2", has_text="Walker2d").is_visible()
        for name in ("sac", "td3", "loop-sac", "loop-td3"):
            tab.get_by_label(name, exact=True).uncheck()
        assert tab.locator("#task-0 .none, #task-2 .none").first.is_visible()
        tab.get_by_role("button", name="Show all").click()
        assert tab.inner_text("#shown") == "34 of 34 runs are shown." and tab.evaluate("lines", "cpo") == before
        assert seen(tab, place) == {True}


def test_filters_by_keyboard(page, opened):
    """From the top of the page, with Tab and the space bar alone; what has the focus is marked."""
    with opened(page) as tab:
        stops = []
        while not stops or stops[-1][:2] != ["INPUT", "algo"]:
            tab.keyboard.press("Tab")
            stops.append(
                tab.evaluate(
                    """() => { const e = document.activeElement, s = getComputedStyle(e);
                    return [e.tagName, e.name ?? "", parseFloat(s.outlineWidth) > 1 && s.outlineStyle !== "none"]; }"""
                )
            )
            assert len(stops) < 20
        assert stops[0][0] == "A" and all(marked for _, _, marked in stops)
        assert [name for _, name, _ in stops].count("task") == 3
        label = tab.evaluate("document.activeElement.labels[0].textContent.trim()")
        tab.keyboard.press("Space")
        assert label == "safeloop" and tab.evaluate("lines", "safeloop") == 0
        tab.keyboard.press("Shift+Tab")
        tab.keyboard.press("Space")
        assert tab.locator("section.task").evaluate_all("all => all.map(e => e.hidden)") == [False, False, True]


def test_nothing_is_wider_than_a_phone(page, evil, opened):
    for file, width in ((page, 390), (evil, 390), (page, 1280)):
        with opened(file, width) as tab:
            tab.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
            assert tab.evaluate("document.documentElement.scrollWidth") == width
            outside = tab.evaluate(
                """width => [...document.querySelectorAll("h1, h2, h3, h4, p, li, label, td, th, figure, button")]
                .filter(e => e.checkVisibility() && !e.closest(".scroll"))
                .filter(e => e.getBoundingClientRect().right > width + 1)
                .map(e => e.outerHTML.slice(0, 100))""",
                width,
            )
            assert outside == []


def test_dark_screens_change_page_and_figures(page, opened):
    colours = """() => ({
        axis: models("LinearAxis").map(axis => axis.axis_label_text_color),
        budget: models("Span").map(span => span.line_color),
        lines: models("GlyphRenderer").filter(m => m.glyph.type === "Line").map(m => m.glyph.line_color.value),
        back: getComputedStyle(document.body).backgroundColor,
    })"""
    with opened(page, scheme="dark") as tab:
        dark = tab.evaluate(colours)
        tab.emulate_media(color_scheme="light")
        tab.wait_for_timeout(500)  # a policy of the page keeps Playwright from waiting for a function in it
        light = tab.evaluate(colours)
    assert (set(dark["axis"]), set(light["axis"])) == ({"#c8ccd2"}, {"#444444"})
    assert (set(dark["budget"]), set(light["budget"])) == ({"#ffffff"}, {"#000000"})
    assert (dark["back"], light["back"]) == ("rgb(20, 22, 26)", "rgb(255, 255, 255)")
    assert set(light["lines"]) == set(COLOURS) and INK in COLOURS
    assert set(dark["lines"]) == {"#ffffff" if colour == INK else colour for colour in COLOURS}


def test_a_pointer_at_a_line_shows_its_numbers(page, opened):
    with opened(page) as tab:
        place = tab.evaluate("() => place(each => each.glyph.type === 'Line')")
        tab.mouse.move(place["x"] - 40, place["y"])
        tab.mouse.move(place["x"], place["y"])
        tip = pointed_at(tab)
        assert place["algo"] in tip and f"{place['steps']:,}" in tip


def test_texts_from_files_do_nothing(evil, opened):
    with opened(evil) as tab:
        assert tab.evaluate("window.evil") is None
        assert tab.title() == f"$$ {EVIL}" and tab.locator("img").count() == 0
        assert EVIL in tab.locator("section.task h2").inner_text()
        place = tab.evaluate("() => place(each => each.data_source.data.fill)")
        tab.mouse.move(place["x"] - 30, place["y"] - 30)
        tab.mouse.move(place["x"], place["y"])
        assert EVIL in pointed_at(tab) and tab.evaluate("window.evil") is None


def test_names_and_headings_are_there_for_those_who_listen(page, opened):
    with opened(page) as tab:
        assert tab.get_attribute("html", "lang") == "en" and tab.locator("h1").count() == 1
        levels = tab.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])")
        assert all(after - before <= 1 for before, after in pairwise(levels))
        unnamed = tab.evaluate(
            """() => [...document.querySelectorAll("table")].filter(e => !e.caption?.textContent.trim()).length
            + [...document.querySelectorAll("th")].filter(e => !e.scope).length
            + [...document.querySelectorAll("input")].filter(e => !e.labels.length).length
            + [...document.querySelectorAll(".plot")].filter(e => !document.getElementById(
                e.getAttribute("aria-labelledby"))).length"""
        )
        assert unnamed == 0
        ids = tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        assert len(ids) == len(set(ids))
