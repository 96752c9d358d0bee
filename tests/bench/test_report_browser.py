"""The report opened in a real browser: nothing is loaded, nothing fails, all is drawn, plays, sorts, switches."""

import re
import shutil

import pytest

from sciml.bench.report import write_report
from tests.bench.report_cases import MODELS, report_data

playwright = pytest.importorskip("playwright.sync_api", reason="playwright (extra `dev`) is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome in PATH")

# Whether a canvas holds more than one colour.
VARIED = """canvas => {
  const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const words = new Uint32Array(data.buffer);
  return words.some(word => word !== words[0]);
}"""
# Names of figures without size, or with a picture, canvas or chart that shows nothing.
UNDRAWN = (
    "() => { const varied = "
    + VARIED
    + """; return Array.from(document.querySelectorAll("[data-figure]")).filter(figure => {
  const sized = element => element.getBoundingClientRect().width > 50 && element.getBoundingClientRect().height > 5;
  const charts = Array.from(figure.querySelectorAll("svg.chart")).filter(sized);
  const chartsDrawn = charts.every(
    chart => Array.from(chart.querySelectorAll("[data-series]")).some(group => group.getBBox().width > 0));
  const images = Array.from(figure.querySelectorAll("img")), canvases = Array.from(figure.querySelectorAll("canvas"));
  const content = charts.length + images.length + canvases.length > 0;
  return !(sized(figure) && content && chartsDrawn && canvases.every(sized) && canvases.every(varied) &&
    images.every(image => image.complete && image.naturalWidth > 0 && sized(image)));
}).map(figure => figure.dataset.figure); }"""
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def addresses(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return {d: write_report(report_data(d), folder / f"{d}d.html").as_uri() for d in (1, 2)}


@pytest.fixture
def open_page(browser, addresses):
    """Opens a page in a given width; anything that went wrong meanwhile fails the test at its end."""
    troubles: list[str] = []
    contexts = []

    def open_at(width: int = 1400, scheme: str = "light", dimensions: int = 1):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        page.on("requestfailed", lambda asked: troubles.append(f"failed: {asked.url[:80]}"))
        page.on("request", lambda asked: asked.url.startswith(("file:", "data:")) or troubles.append(asked.url[:80]))
        page.goto(addresses[dimensions])
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert troubles == []


@pytest.mark.parametrize("dimensions", [1, 2])
@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (760, "light"), (1400, "light")])
def test_every_figure_is_drawn_and_the_page_fits(open_page, width, scheme, dimensions):
    page = open_page(width, scheme, dimensions)
    names = page.eval_on_selector_all("[data-figure]", "figures => figures.map(f => f.dataset.figure)")
    assert {"accuracy-cost", "correlation", "error-growth", "spectra", "animation"} < set(names)
    assert page.evaluate(UNDRAWN) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    shown = page.eval_on_selector_all("svg.chart", "all => all.filter(s => s.getBoundingClientRect().width > 0).length")
    assert shown == 4  # one size of each chart


@pytest.mark.parametrize("dimensions", [1, 2])
def test_animation_plays_and_pauses(open_page, dimensions):
    page = open_page(dimensions=dimensions)
    canvas = page.locator("canvas").nth(1)
    assert canvas.get_attribute("data-frame") == "0"
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    page.get_by_role("button", name="Play").click()
    playwright.expect(canvas).to_have_attribute("data-frame", re.compile(r"^([3-9]|\d\d+)$"))
    page.get_by_role("button", name="Pause").click()
    frames = {page.locator("canvas").nth(i).get_attribute("data-frame") for i in range(1 + len(MODELS))}
    assert len(frames) == 1  # all models in step
    assert canvas.evaluate("canvas => canvas.toDataURL()") != before
    assert page.locator("input.time").input_value() == frames.pop()


def test_slider_goes_to_the_end_where_one_model_has_blown_up(open_page):
    page = open_page()
    page.locator("input.time").evaluate("s => { s.value = s.max; s.dispatchEvent(new Event('input')); }")
    assert page.locator(".clock").inner_text() == "t = 128"
    words = page.locator(".panel .correlation").all_inner_texts()
    assert words.count("blown up") == 1
    assert "lost" in words[2]


def test_tables_sort_both_ways_and_keep_missing_values_last(open_page):
    page = open_page()
    table = page.locator("#leaderboard table")

    def column(number: int) -> list[str]:
        return [text.split("\n")[0] for text in table.locator(f"tbody td:nth-child({number})").all_inner_texts()]

    heading = table.locator("th").nth(2)
    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "descending"  # higher is better, so the best comes first
    assert column(3) == ["> 128", "31.2", "27.9", "8.04", "2.80"]
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column(3) == ["2.80", "8.04", "27.9", "31.2", "> 128"]
    final = table.locator("th").nth(5)
    for _ in range(2):
        final.get_by_role("button").click()
        assert column(6)[-1] == "blown up"
    assert heading.get_attribute("aria-sort") is None
    table.locator("th").first.get_by_role("button").click()
    assert column(1) == sorted(column(1), key=str.casefold)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_theme_button_turns_the_theme_round(open_page, scheme):
    page = open_page(scheme=scheme)
    colours = """[["body", "backgroundColor"], ["svg.chart text", "fill"]].map(
        ([name, property]) => getComputedStyle(document.querySelector(name))[property])"""
    before = page.evaluate(colours)
    page.locator("#theme").click()
    after = page.evaluate(colours)
    assert before[0] != after[0] and before[1] != after[1]
    page.locator("#theme").click()
    assert page.evaluate(colours) == before


def test_legend_hides_a_model_in_its_chart_only(open_page):
    page = open_page()
    count = "name => document.querySelectorAll(`[data-figure='${name}'] .chart.wide .hidden`).length"
    page.locator("[data-figure='correlation'] .legend button").first.click()
    assert page.evaluate(count, "correlation") > 0
    assert page.evaluate(count, "error-growth") == 0
    page.locator("[data-figure='correlation'] .legend button").first.click()
    assert page.evaluate(count, "correlation") == 0
