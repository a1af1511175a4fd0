"""The report in a browser without a network: drawn without a complaint, wide and narrow, tooltips, texts stay texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cache import open_cache
from tests.browser import Browser, find_browser
from tests.frames import HOSTILE
from tests.report_cache import made
from tests.test_charts import CHARTS
from tts_sim.full_report import FullReport, full_report
from tts_sim.report import Figure, Section, write_report

EXECUTABLE = find_browser()
pytestmark = pytest.mark.skipif(EXECUTABLE is None, reason="no Chromium on this machine")
MARKS = (
    "[...document.querySelectorAll('.chart')].map(chart => "
    "chart.querySelectorAll('svg .role-mark.mark-symbol path, svg .role-mark.mark-rect path').length)"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert EXECUTABLE is not None
    opened = Browser(EXECUTABLE, tmp_path_factory.mktemp("profile"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> FullReport:
    with open_cache(made(tmp_path_factory.mktemp("page"))) as cache:
        return full_report(cache, name=HOSTILE)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, report: FullReport) -> Path:
    return write_report(tmp_path_factory.mktemp("page") / "report.html", *report)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every public chart on made-up frames, the policy's, the exchange's and hostile names among them."""
    figures = [Figure(f"chart{number}", name, draw()) for number, (name, draw) in enumerate(CHARTS.items())]
    folder = tmp_path_factory.mktemp("gallery")
    return write_report(folder / "gallery.html", "Gallery", [HOSTILE], [Section("All", HOSTILE, figures)])


@pytest.mark.parametrize("width", [1100, 400])
def test_every_chart_is_drawn_without_a_complaint(browser: Browser, page: Path, report: FullReport, width: int) -> None:
    browser.open(page, width)
    assert browser.complaints == []
    drawn = browser.evaluate(MARKS)
    charts = [figure.name for section in report.sections for figure in section.figures if figure.chart is not None]
    assert len(drawn) == len(charts)
    assert all(count > 3 for count in drawn), dict(zip(charts, drawn, strict=True))


@pytest.mark.parametrize("width", [1100, 400])
def test_the_gallery_is_drawn_without_a_complaint(browser: Browser, gallery: Path, width: int) -> None:
    browser.open(gallery, width)
    assert browser.complaints == []
    assert all(count > 1 for count in browser.evaluate(MARKS))


def test_a_narrow_page_scrolls_inside_its_boxes_only(browser: Browser, page: Path) -> None:
    browser.open(page, 400)
    assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
    overflowing = browser.evaluate(
        "[...document.querySelectorAll('.chart')].filter(box => box.scrollWidth > box.clientWidth + 1)"
        ".every(box => getComputedStyle(box).overflowX === 'auto')"
    )
    assert overflowing
    smallest = browser.evaluate(
        "Math.min(...[...document.querySelectorAll('.chart svg text')].filter(text => text.textContent.trim())"
        ".map(text => parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM().a, "
        "text.getScreenCTM().b)))"
    )
    assert smallest >= 10  # pixels: charts are drawn anew, not shrunk


def test_panels_fold_on_a_narrow_page_and_unfold_when_it_widens(browser: Browser, page: Path) -> None:
    count = (
        "new Set([...document.querySelector('#section2 .chart').querySelectorAll('.cell > g')]"
        ".map(cell => Math.round(cell.getBoundingClientRect().x))).size"
    )
    browser.open(page, 400)
    narrow = browser.evaluate(count)
    browser.call("Emulation.setDeviceMetricsOverride", width=1100, height=900, deviceScaleFactor=1, mobile=False)
    wide = browser.evaluate(
        f"new Promise(done => {{ const end = Date.now() + 20000; const look = () => {{ const found = {count}; "
        f"found > {narrow} || Date.now() > end ? done(found) : setTimeout(look, 100); }}; look(); }})"
    )
    assert narrow == 1 < wide


@pytest.mark.parametrize("selector", [".role-mark.mark-symbol path", ".role-mark.mark-rect path"])
def test_tooltips_tell_the_figures(browser: Browser, page: Path, selector: str) -> None:
    browser.open(page, 1100)
    said = browser.hover(selector)
    assert said is not None
    assert {"strategy", "accuracy", "95 % from", "95 % to", "questions"} <= {line.strip() for line in said.split("\n")}


def test_texts_stay_texts(browser: Browser, page: Path, gallery: Path) -> None:
    for one in (page, gallery):
        browser.open(one, 1100)
        assert browser.evaluate("document.scripts.length") == 3
        assert browser.evaluate("document.querySelectorAll('main b, header b, .chart b').length") == 0
        assert browser.evaluate("document.body.innerText").count("<b>bold</b>") > 0
    browser.evaluate(
        "[...document.querySelectorAll('.chart text')].some(text => text.textContent.includes('<script>'))"
    )
    tip = browser.evaluate(
        "[...document.querySelectorAll('.role-mark.mark-symbol path')].findIndex(mark => "
        "(mark.getAttribute('aria-label') || '').includes('<script>'))"
    )
    assert tip >= 0
    browser.evaluate(
        "[...document.querySelectorAll('.role-mark.mark-symbol path')].forEach((mark, place) => "
        f"{{ if (place === {tip}) mark.id = 'hostile'; }})"
    )
    said = browser.hover("#hostile")
    assert said is not None and "<script>alert(1)</script>" in said
    assert browser.complaints == []
    assert (
        browser.evaluate("document.querySelectorAll('#vg-tooltip-element script, #vg-tooltip-element b').length") == 0
    )


def test_injected_scripts_do_not_run(browser: Browser, page: Path) -> None:
    """The page's policy holds even if a text did become markup."""
    browser.open(page, 1100)
    browser.evaluate(
        "(() => { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.ran = 1\"><svg "
        "onload=\"window.ran = 1\">'); const made = document.createElement('script'); made.textContent = 'window.ran = "
        "1'; document.body.append(made); return new Promise(done => setTimeout(done, 300)); })()"
    )
    assert browser.evaluate("window.ran") is None


def test_printing_hides_what_is_for_the_screen(browser: Browser, page: Path) -> None:
    browser.open(page, 1100)
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert browser.evaluate("getComputedStyle(document.querySelector('.vega-embed summary')).display") == "none"
        assert browser.evaluate("getComputedStyle(document.querySelector('.chart')).overflowX") == "visible"
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
