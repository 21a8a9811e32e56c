"""The page of feature maps as a person uses it: in a real browser, from a file, offline."""

from __future__ import annotations

import io

import numpy as np
import pytest

pytest.importorskip("selenium", reason="no selenium: pip install '.[test]'")
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from fmce_mlflow.report.maps_page import maps_page
from tests.helpers import map_pages
from tests.helpers.browser import (
    TEXT_OUTSIDE_ITS_CHART,
    WIDER_THAN_THE_PAGE,
    contrast,
    luminance,
    needs_browser,
    show,
)
from tests.helpers.reports import HOSTILE

pytestmark = needs_browser
PAGES = {
    "run": map_pages.page(),
    "eight": map_pages.page(images=8, pictures=False),
    "model": map_pages.of_a_model(),
    "hostile": map_pages.hostile(HOSTILE),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    for name, page in PAGES.items():
        (folder / f"{name}.html").write_text(maps_page(page), encoding="utf-8")
    (folder / "frame.html").write_text('<iframe sandbox src="run.html" width="900" height="800"></iframe>')
    (folder / "mlflow.html").write_text(
        '<iframe sandbox="allow-scripts" src="run.html" width="900" height="800"></iframe>'
    )
    return folder


def cell(browser, module, image):
    return browser.find_element(By.CSS_SELECTOR, f'[data-module="{module}"][data-image="{image}"]')


def text(browser, id_):
    return browser.find_element(By.ID, id_).text


def centres(browser, element, shape):
    """The colours in the middle of each position of a map, as the screen shows them: uint8 (h, w, 3)."""
    shot = np.asarray(Image.open(io.BytesIO(element.screenshot_as_png)).convert("RGB"))
    rows, columns = ((np.arange(n) + 0.5) * size / n for n, size in zip(shape, shot.shape[:2], strict=True))
    return shot[rows.astype(int)][:, columns.astype(int)]


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_fits_and_is_silent(browser, written, name, width):
    show(browser, written / f"{name}.html", width=width)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [document.documentElement.scrollWidth, window.innerWidth]") == [width, width]
    assert browser.execute_script(WIDER_THAN_THE_PAGE) == []
    assert browser.execute_script(TEXT_OUTSIDE_ITS_CHART) == []
    cells = browser.find_elements(By.CSS_SELECTOR, ".cell svg")
    assert min(one.size["width"] for one in cells) >= (30 if width == 400 else 90)


@pytest.mark.parametrize("width", [1280, 400])
def test_the_slider_goes_through_snapshots(browser, written, width):
    show(browser, written / "run.html", width=width)
    page = PAGES["run"]
    slider = browser.find_element(By.ID, "slider")
    for key, moment in ((Keys.HOME, 0), (Keys.ARROW_RIGHT, 1), (Keys.ARROW_RIGHT, 2), (Keys.END, 10)):
        slider.send_keys(key)
        assert text(browser, "moment") == f"Snapshot {map_pages.SNAPSHOTS[moment]} of 20"
        assert text(browser, "figures").split()[-1] == page.moments[moment].figures["FMCS"]
        assert slider.get_attribute("aria-valuetext") == text(browser, "moment")
        for module, shape in enumerate(map_pages.MODULES.values()):
            shown = centres(browser, cell(browser, module, 1).find_element(By.TAG_NAME, "svg"), shape[1:])
            expected = page.modules[module].pictures.colours[moment, 1]
            assert np.abs(shown.astype(int) - expected).max() <= 2
        places = {line.get_attribute("x1") for line in browser.find_elements(By.CSS_SELECTOR, ".cursor")}
        assert len(places) == 1 and abs(float(places.pop()) - (46 + 30.4 * moment)) <= 0.1


def test_a_click_chooses_module_and_image(browser, written):
    show(browser, written / "run.html")
    cell(browser, 0, 2).click()
    assert (text(browser, "which"), text(browser, "which-image")) == ("stem", "image 3 (eel)")
    pressed = browser.find_elements(By.CSS_SELECTOR, '[aria-pressed="true"].cell')
    assert pressed == [cell(browser, 0, 2)]
    drifts = browser.find_elements(By.CSS_SELECTOR, "[data-drift]")
    assert [one.is_displayed() for one in drifts] == [True, False]
    tiles = [one for one in browser.find_elements(By.CSS_SELECTOR, "#tiles figure") if one.is_displayed()]
    channels = PAGES["run"].modules[0].pictures.channels
    assert [tile.text for tile in tiles] == [f"channel {channel}" for channel in channels] and len(channels) == 5
    cell(browser, 1, 0).click()
    assert len([one for one in browser.find_elements(By.CSS_SELECTOR, "#tiles figure") if one.is_displayed()]) == 6
    assert [one.is_displayed() for one in drifts] == [False, True]


def test_the_details_show_the_chosen_map_channels_and_picture(browser, written):
    show(browser, written / "run.html", height=3000)
    page = PAGES["run"]
    browser.find_element(By.ID, "slider").send_keys(Keys.HOME, *[Keys.ARROW_RIGHT] * 4)
    cell(browser, 0, 1).click()
    pictures = page.modules[0].pictures
    shown = centres(browser, browser.find_element(By.ID, "large-map"), (12, 16))
    assert np.abs(shown.astype(int) - pictures.colours[4, 1]).max() <= 2
    photo = centres(browser, browser.find_element(By.ID, "large-photo"), (20, 28))
    assert np.abs(photo.astype(int) - page.photos[1]).max() <= 2
    from matplotlib import colormaps

    for k, tile in enumerate(browser.find_elements(By.CSS_SELECTOR, "#tiles svg")[:5]):
        expected = colormaps["viridis"](pictures.tiles[4, 1, k])[..., :3] * 255
        assert np.abs(centres(browser, tile, (12, 16)) - expected).max() <= 2


def test_arrow_keys_go_through_maps(browser, written):
    show(browser, written / "run.html")
    assert [one for one in browser.find_elements(By.CSS_SELECTOR, '.cell[tabindex="0"]')] == [cell(browser, 1, 0)]
    cell(browser, 1, 0).send_keys(Keys.ARROW_RIGHT)
    browser.switch_to.active_element.send_keys(Keys.ARROW_UP)
    assert browser.switch_to.active_element == cell(browser, 0, 1)
    for _ in range(5):
        browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert browser.switch_to.active_element == cell(browser, 0, 2)
    assert text(browser, "which-image") == "image 3 (eel)"
    assert text(browser, "moment") == "Snapshot 20 of 20"


def test_play_goes_through_all_snapshots_and_stops(browser, written):
    show(browser, written / "run.html")
    play = browser.find_element(By.ID, "play")
    play.click()
    assert play.text == "Pause" and text(browser, "moment") != "Snapshot 20 of 20"
    WebDriverWait(browser, 600).until(lambda _: play.text == "Play")
    assert text(browser, "moment") == "Snapshot 20 of 20"
    play.click()
    play.click()
    assert play.text == "Play"


def test_every_picture_has_a_name(browser, written):
    show(browser, written / "run.html")
    pictures = browser.find_elements(By.CSS_SELECTOR, "svg")
    shown = [one for one in pictures if one.is_displayed()]
    assert len(shown) > 15 and all(one.accessible_name for one in shown)
    buttons = browser.find_elements(By.CSS_SELECTOR, ".cell")
    assert [one.aria_role for one in buttons] == ["button"] * 6
    assert buttons[1].accessible_name == "Map of stem, image 2, dog"
    assert browser.find_element(By.ID, "slider").accessible_name == "Snapshot"


def test_without_scripts_it_shows_the_last_snapshot_and_the_figures(browser, written):
    show(browser, written / "frame.html")
    browser.switch_to.frame(0)
    page = PAGES["run"]
    assert text(browser, "moment") == "Snapshot 20 of 20"
    shown = centres(browser, cell(browser, 0, 1).find_element(By.TAG_NAME, "svg"), (12, 16))
    assert np.abs(shown.astype(int) - page.modules[0].pictures.colours[-1, 1]).max() <= 2
    assert not browser.find_element(By.ID, "bar").is_displayed()
    assert not browser.find_element(By.ID, "detail").is_displayed()
    assert "Without scripts" in browser.find_element(By.TAG_NAME, "noscript").text
    assert all(one.is_displayed() for one in browser.find_elements(By.CSS_SELECTOR, "[data-drift]"))
    browser.find_element(By.TAG_NAME, "summary").click()
    rows = browser.find_elements(By.CSS_SELECTOR, "tbody tr")
    assert [row.text for row in rows][-1] == "20 8.41e-05 1.00" and len(rows) == 11
    browser.switch_to.default_content()


def test_the_slider_works_in_the_artifact_view_of_mlflow(browser, written):
    """Which shows pages in a frame that lets scripts run and nothing else."""
    show(browser, written / "mlflow.html")
    browser.switch_to.frame(0)
    browser.find_element(By.ID, "slider").send_keys(Keys.HOME)
    assert text(browser, "moment") == "Snapshot 0 of 20"
    browser.switch_to.default_content()
    assert browser.get_log("browser") == []


def test_names_from_outside_stay_text(browser, written):
    show(browser, written / "hostile.html")
    cell(browser, 0, 1).click()
    browser.find_element(By.ID, "slider").send_keys(Keys.HOME)
    assert text(browser, "which") == HOSTILE and HOSTILE in text(browser, "figures")
    assert browser.title != "broken" and browser.find_elements(By.CSS_SELECTOR, "[onerror], img") == []
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"broken\"'; "
        "document.body.append(s)"
    )
    assert browser.title != "broken"
    assert any("Content Security Policy" in line["message"] for line in browser.get_log("browser"))


@pytest.mark.parametrize(("scheme", "media"), [("light", "screen"), ("dark", "screen"), ("dark", "print")])
def test_text_can_be_read(browser, written, scheme, media):
    show(browser, written / "run.html", scheme=scheme, media=media)
    style = "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e)[arguments[1]])"
    paper = browser.execute_script(style, "body", "backgroundColor")[0]
    assert (luminance(paper) < 0.05) == (scheme == "dark" and media == "screen")
    found = browser.execute_script(style, "p, li, th, td, dd, dt, h1, h2, h3, figcaption, b, summary, .t-mark", "color")
    found += browser.execute_script(style, "svg text", "fill")
    assert len(found) > 60 and min(contrast(colour, paper) for colour in found) >= 4.5
