"""The page of feature maps as a file: what is in it, bounded and escaped."""

from __future__ import annotations

import base64
import hashlib
import json
import re

import numpy as np
import pytest

from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.method.maps.bounds import MOST_MODULES, bounds
from fmce_mlflow.method.maps.pictures import module_pictures
from fmce_mlflow.report.maps_page import ShownModule, averaged, maps_page
from tests.helpers import map_pages
from tests.helpers.reports import HOSTILE, Reader


def data_of(html):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])


def test_it_says_whose_maps_they_are_and_what_is_left_out():
    html = maps_page(map_pages.page())
    text = " ".join("".join(Reader(html).text).split())
    for expected in (
        "a net on digits", "Converged at snapshot 10 of 20", "Snapshot 20 of 20", "20 × 4 × 4",
        "11 of 21 snapshots are shown", "Maps of 2 modules for 3 images", "T = 10",
    ):  # fmt: skip
        assert expected in text, expected


def test_the_script_gets_every_moment_and_module():
    page = map_pages.page()
    data = data_of(maps_page(page))
    assert [one["name"] for one in data["moments"]][:2] == ["Snapshot 0 of 20", "Snapshot 2 of 20"]
    assert data["moments"][5]["figures"] == [["training loss", "0.0139"], ["FMCS", "1.00"]]
    assert [one["name"] for one in data["modules"]] == ["stem", "stages.3"]
    assert data["modules"][0]["size"] == [16, 12] and len(data["modules"][0]["sheets"]) == 3
    assert data["modules"][0]["channels"] == list(page.modules[0].pictures.channels)
    places = data["loss"]
    assert len(places) == 11 and (np.diff(places) > 0).all() and (places[0], places[-1]) == (46, 350)


def test_its_policy_lets_one_script_run_and_nothing_be_fetched():
    html = maps_page(map_pages.page())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="(.*?)"', html)[1].replace("&#39;", "'")
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'"
    assert set(re.findall(r'(?:href|src)="(.{0,22})', html)) == {"data:image/png;base64,"}
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org/2000/svg", "", html)


def test_names_from_outside_are_text():
    html = maps_page(map_pages.hostile(HOSTILE))
    assert html.count("<script") == 2 and "<img" not in html
    assert HOSTILE in "".join(Reader(html).text)
    data = data_of(html)
    assert data["modules"][0]["name"] == HOSTILE and data["captions"] == [f"image {i} ({HOSTILE})" for i in (1, 2, 3)]
    assert data["moments"][0]["figures"] == [[HOSTILE, HOSTILE]]


def test_credentials_are_left_out():
    secret = "https://user:hunter2@host/x"
    html = maps_page(map_pages.page(title=secret, captions=[secret] * 3, notes=[secret], facts={"Run": secret}))
    assert "hunter2" not in html


def test_without_pictures_figures_and_curves_maps_are_shown_alone():
    page = map_pages.page(pictures=False, loss=None, verdict="", notes=[])
    modules = [ShownModule(one.name, one.shape, one.pictures) for one in page.modules]
    moments = [type(one)(one.snapshot, {}) for one in page.moments]
    html = maps_page(map_pages.page(pictures=False, loss=None, verdict="", notes=[], modules=modules, moments=moments))
    assert "<h2>Curves" not in html and "<h2>Figures" not in html and "<h2>Notes" not in html and "T =" not in html
    assert html.count('class="cell"') == 6


def test_a_model_has_one_moment_and_no_slider():
    html = maps_page(map_pages.of_a_model())
    assert 'type="range"' not in html and "any snapshot" not in html and html.count('class="cell"') == 4


def test_the_largest_page_is_below_five_megabytes():
    """Noise, which no compression makes smaller, in as many modules as there can be."""
    rng = np.random.default_rng(0)
    limits = bounds([(6, 60, 60)] * MOST_MODULES, 1000, 1000)
    side, images = limits.side, limits.images
    modules = []
    for i in range(MOST_MODULES):
        maps = [rng.normal(size=(images, 6, side, side)).astype(np.float16) for _ in range(limits.snapshots)]
        modules.append(ShownModule(f"m{i}", (6, 60, 60), module_pictures(maps)))
    moments = [map_pages.Moment(t, {}) for t in range(limits.snapshots)]
    html = maps_page(map_pages.page(modules=modules, moments=moments, captions=["x"] * images, photos=None))
    assert 2_000_000 < len(html.encode()) < 5_000_000
    assert averaged(modules)[0] == "Maps of `m0` are averaged to 16 × 16 positions."


@pytest.mark.parametrize(("point", "place"), [(10, "0.5000"), (5, "0.2500"), (0, "0.0000")])
def test_t_stands_where_its_snapshot_would_be_on_the_slider(point, place):
    loss = map_pages.page().loss
    moved = type(loss)(**{name: getattr(loss, name) for name in loss.__dataclass_fields__} | {"point": point})
    assert f'style="--at:{place}"' in maps_page(map_pages.page(loss=moved))


def test_a_loss_that_is_nan_has_no_curve_and_says_so():
    loss = assess([2.0, float("nan"), 1.0, 0.5], finite=False)
    html = maps_page(map_pages.page(loss=loss, verdict=loss.verdict()))
    assert "Loss of the run" not in html and "nan" not in "".join(re.findall(r"<svg.*?</svg>", html, flags=re.DOTALL))
    assert loss.problem and loss.problem.split(".")[0] in html and data_of(html)["loss"] == []
