"""The page of a registry as a person uses it: in a real browser, from a file, offline."""

from __future__ import annotations

import pytest

pytest.importorskip("selenium", reason="no selenium: pip install '.[test]'")
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from fmce_mlflow.showing.overview_page import overview_page
from tests.helpers.browser import (
    TEXT_OUTSIDE_ITS_CHART,
    WIDER_THAN_THE_PAGE,
    contrast,
    luminance,
    needs_browser,
    opened,
    show,
)
from tests.helpers.overviews import model, registry
from tests.helpers.reports import HOSTILE

pytestmark = needs_browser
LONG = "organisation.wide-perception_backbone" * 6
DEEP = tuple(f"backbone.body.layer{i}.{j}.conv{k}" for i in (1, 2, 3) for j in (0, 1, 2) for k in (1, 2))
PAGES = {
    "one": registry(photos=model("photos", 1)),
    "twelve": registry(photos=model("photos", 12, missing=(3, 9))),
    "mixed": registry(
        photos=model("photos", 11), **{LONG: model(LONG, 3, DEEP), HOSTILE: model(HOSTILE, 2, (HOSTILE,))}
    ),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overview")
    for name, found in PAGES.items():
        (folder / f"{name}.html").write_text(overview_page(found), encoding="utf-8")
    (folder / "frame.html").write_text('<iframe sandbox src="twelve.html" width="900" height="800"></iframe>')
    return folder


@pytest.fixture(scope="module")
def browser():
    with opened() as driver:
        yield driver


def column(browser, place):
    """The first lines of a column's cells in the table of versions, from the top."""
    rows = browser.find_elements(By.CSS_SELECTOR, "section:nth-of-type(2) tbody tr")
    return [row.find_element(By.CSS_SELECTOR, f":nth-child({place})").text.split("\n")[0] for row in rows]


def heads(browser):
    return browser.find_elements(By.CSS_SELECTOR, "section:nth-of-type(2) thead th")


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_is_silent(browser, written, name, width):
    show(browser, written / f"{name}.html", width=width)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]") == [width, width]
    assert browser.execute_script(WIDER_THAN_THE_PAGE) == []
    assert browser.execute_script(TEXT_OUTSIDE_ITS_CHART) == []


def test_a_click_or_a_key_sorts_and_says_so(browser, written):
    show(browser, written / "twelve.html")
    assert column(browser, 1) == [str(number) for number in range(12, 0, -1)]
    score = heads(browser)[1]
    assert score.get_attribute("aria-sort") == "none"
    score.find_element(By.TAG_NAME, "button").click()
    up = column(browser, 2)
    assert up[-2:] == ["–", "–"] and up[:-2] == sorted(up[:-2]) and score.get_attribute("aria-sort") == "ascending"
    score.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)
    assert column(browser, 2) == [*up[9::-1], "–", "–"] and score.get_attribute("aria-sort") == "descending"
    heads(browser)[0].find_element(By.TAG_NAME, "button").send_keys(Keys.SPACE)
    assert column(browser, 1) == [str(number) for number in range(1, 13)]  # as numbers: 2 before 10
    assert [head.get_attribute("aria-sort") for head in heads(browser)[:2]] == ["ascending", "none"]
    verdict = heads(browser)[2].find_element(By.TAG_NAME, "button")
    verdict.click()
    words = column(browser, 3)
    assert words == sorted(words, key=["mature", "probably mature", "probably not mature", "not mature", "not evaluated"].index)  # fmt: skip # noqa: E501


def test_without_scripts_it_reads_the_same(browser, written):
    show(browser, written / "frame.html")
    browser.switch_to.frame(0)
    assert column(browser, 1)[0] == "12" and browser.find_elements(By.TAG_NAME, "button") == []
    assert heads(browser)[1].text == "FMCS"
    browser.switch_to.default_content()


def test_names_from_outside_stay_text(browser, written):
    show(browser, written / "mixed.html")
    assert browser.title != "broken" and browser.find_elements(By.CSS_SELECTOR, "[onerror], img") == []
    assert HOSTILE in browser.find_element(By.TAG_NAME, "body").text.replace("\n", "")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser, written, scheme):
    show(browser, written / "twelve.html", scheme=scheme)
    style = "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e)[arguments[1]])"
    paper = browser.execute_script(style, "body", "backgroundColor")[0]
    assert (luminance(paper) < 0.05) == (scheme == "dark")
    found = browser.execute_script(style, "p, td, th, dd, dt, h1, h2, .badge, td a, i, button", "color")
    found += browser.execute_script(style, "svg text", "fill")
    assert len(found) > 100 and min(contrast(colour, paper) for colour in found) >= 4.5
