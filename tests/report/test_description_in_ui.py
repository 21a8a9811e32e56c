"""A run's description as MLflow's own UI shows it, in a real browser that reaches this machine alone."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("selenium", reason="no selenium: pip install '.[test]'")
from mlflow import MlflowClient
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from fmce_mlflow.report.templating import plain
from tests.helpers.faults import experiment_run
from tests.helpers.progress import until
from tests.report.test_templating import LINES

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (BROWSER and DRIVER), reason="no browser: apt-get install chromium chromium-driver (Debian)"
    ),
]
MARKUP = "img, a, iframe, h1, h2, h3, li, table, blockquote, del, em, hr, pre, code"
LAST = "This is the last line."


@pytest.fixture
def browser():
    options = Options()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,2000"):
        options.add_argument(argument)
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.mark.parametrize(("written", "has_markup"), [(str, True), (plain, False)])
def test_names_in_a_description_are_text(browser, server, written, has_markup):
    """Otherwise they fetch pictures from elsewhere, as the first case shows."""
    client = MlflowClient(server)
    run = client.get_run(experiment_run(client))
    client.set_tag(run.info.run_id, "mlflow.note.content", "\n\n".join(["**FMCE**", *map(written, LINES), LAST]))
    browser.get(f"{server}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}")
    until(lambda: LAST in browser.page_source, browser.service.process)
    (description,) = browser.find_elements(By.XPATH, "//*[p/strong[text()='FMCE']]")
    found = [one.tag_name for one in description.find_elements(By.CSS_SELECTOR, MARKUP)]
    assert bool(found) is has_markup and ("img" in found) is has_markup
    if not has_markup:
        shown = description.get_property("textContent")
        assert [line for line in LINES if " ".join(line.split()) not in shown] == []
