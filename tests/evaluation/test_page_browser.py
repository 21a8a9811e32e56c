"""The HTML pages as a reader meets them: from a file, offline, in a real browser."""

from __future__ import annotations

import itertools

import pytest

pytest.importorskip("selenium", reason="no selenium: pip install '.[test]'")
from selenium.webdriver.common.by import By

from fmce_mlflow.evaluation.page import evaluation_page
from fmce_mlflow.evaluation.weights_page import weights_page
from fmce_mlflow.fmcs_dataset.page import dataset_page
from tests.helpers import reports
from tests.helpers.browser import (
    TEXT_OUTSIDE_ITS_CHART,
    WIDER_THAN_THE_PAGE,
    contrast,
    luminance,
    needs_browser,
    show,
)

pytestmark = needs_browser

NAMES = ("one", "several", "evidence", "hostile", "dataset", "hostile_dataset", "weights", "hostile_weights")
WITHOUT_CHARTS = {"weights", "hostile_weights"}


def pages():
    table, convergences = reports.table()
    hostile, theirs = reports.table(2, backbone=reports.HOSTILE, module=reports.HOSTILE, dataset=reports.HOSTILE)
    return (
        evaluation_page(reports.report()),
        evaluation_page(reports.several()),
        evaluation_page(reports.with_evidence()),
        evaluation_page(reports.hostile()),
        dataset_page(table, convergences, run_id="ab12", left_out={"f00d": "Not converged."}),
        dataset_page(hostile, theirs, run_id=reports.HOSTILE, left_out={reports.HOSTILE: reports.HOSTILE}),
        weights_page(reports.of_weights()),
        weights_page(reports.of_weights(reports.HOSTILE)),
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name, page in zip(NAMES, pages(), strict=True):
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [1280, 400])
def test_a_page_fits_and_is_silent(browser, written, name, width):
    show(browser, written / f"{name}.html", width=width)
    assert browser.get_log("browser") == []
    scrolled, inner = browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]")
    assert (scrolled, inner) == (width, width)
    assert browser.execute_script(WIDER_THAN_THE_PAGE) == []
    assert browser.execute_script(TEXT_OUTSIDE_ITS_CHART) == []


@pytest.mark.parametrize("name", NAMES)
def test_figures_have_text_alternatives(browser, written, name):
    show(browser, written / f"{name}.html")
    charts = browser.find_elements(By.CSS_SELECTOR, "svg")
    assert bool(charts) == (name not in WITHOUT_CHARTS) and all(
        c.aria_role == "image" and len(c.accessible_name) > 20 for c in charts
    )
    pictures = browser.find_elements(By.CSS_SELECTOR, "img")
    assert bool(pictures) == (not name.endswith("dataset") and name not in WITHOUT_CHARTS)
    assert all(p.get_attribute("alt") and p.get_property("naturalWidth") > 100 for p in pictures)
    headings = [int(h.tag_name[1]) for h in browser.find_elements(By.CSS_SELECTOR, "h1, h2, h3")]
    assert headings[0] == 1 and headings.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(headings))


@pytest.mark.parametrize("name", ["hostile", "hostile_dataset", "hostile_weights"])
def test_hostile_names_are_text(browser, written, name):
    show(browser, written / f"{name}.html")
    assert browser.title != "broken" and "<script>document.title" in browser.find_element(By.TAG_NAME, "body").text
    assert browser.find_elements(By.CSS_SELECTOR, "script, [onerror], img[src='x']") == []
    # and if one ever got through, the page's own policy stops it
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"broken\"'; "
        "document.body.append(s)"
    )
    assert browser.title != "broken"
    assert any("Content Security Policy" in line["message"] for line in browser.get_log("browser"))


def test_nothing_is_fetched(browser, written):
    show(browser, written / "several.html")
    entries = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in entries if not name.startswith("data:")] == []


def test_it_shows_in_a_frame_without_scripts_as_in_the_artifact_view_of_mlflow(browser, written):
    (written / "frame.html").write_text('<iframe sandbox src="one.html" width="700" height="500"></iframe>')
    show(browser, written / "frame.html")
    browser.switch_to.frame(0)
    assert browser.find_element(By.TAG_NAME, "h1").text == "models:/digits-classifier/3"
    assert browser.find_element(By.CSS_SELECTOR, ".verdict").is_displayed()
    browser.switch_to.default_content()
    assert browser.get_log("browser") == []


@pytest.mark.parametrize(("scheme", "media", "dark"), [
    ("light", "screen", False), ("dark", "screen", True), ("dark", "print", False),
])  # fmt: skip
def test_text_can_be_read_in_light_dark_and_print(browser, written, scheme, media, dark):
    show(browser, written / "several.html", scheme=scheme, media=media)
    style = "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e)[arguments[1]])"
    paper = browser.execute_script(style, "body", "backgroundColor")[0]
    assert (luminance(paper) < 0.05) == dark
    found = browser.execute_script(style, "p, li, th, td, dd, dt, h1, h2, h3, .badge, figcaption", "color")
    found += browser.execute_script(style, "svg text", "fill")
    assert len(found) > 100 and min(contrast(colour, paper) for colour in found) >= 4.5


def test_print_keeps_every_card_whole(browser, written):
    show(browser, written / "several.html", media="print")
    rules = browser.execute_script(
        "return [...document.querySelectorAll('.card, figure')].map(e => getComputedStyle(e).breakInside)"
    )
    assert len(rules) > 10 and set(rules) == {"avoid"}
    assert browser.print_page().startswith("JVBERi0")  # %PDF-, in base64
