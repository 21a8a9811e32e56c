"""The page of a registry, from values alone."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from fmce_mlflow.report.templating import broken
from fmce_mlflow.showing.overview_page import MOST_COLUMNS, overview_page
from fmce_mlflow.showing.trend import trend
from tests.helpers.overviews import LAYERS, NOT_YET, UI, evaluation, model, registry
from tests.helpers.reports import HOSTILE


def tables(html):
    """The rows of each table of versions, a list of the texts of their cells."""
    found = []
    for table in re.findall(r'<table class="registry.*?</table>', html, re.DOTALL)[1:]:
        rows = re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)
        cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
        found.append([[re.sub(r"<[^>]+>", " ", cell).split() for cell in row] for row in cells])
    return found


def test_a_row_has_verdict_scores_and_links():
    html = overview_page(registry(photos=model("photos", 2)))
    head, *rows = tables(html)[0]
    assert head == [["Version"], ["FMCS"], ["Verdict"], ["Lags"], ["Alias,", "stage"], *([f"layer{i}."[:-1]] for i in range(1, 5)), ["Evaluated"]]  # fmt: skip # noqa: E501
    assert [row[0] for row in rows] == [["2"], ["1"]]  # the newest first
    assert rows[0][1] == rows[0][8] and rows[0][3] == ["layer4"] and rows[1][4] == ["champion"]
    run = f"{UI}/#/experiments/1/runs/{2:032x}"
    assert html.count(f'href="{run}"') == 1 + 1 + len(LAYERS)  # of the model's row, the score and each module
    assert html.count(f'href="{UI}/#/models/photos/versions/2"') == 1


def test_what_was_not_evaluated_is_a_row_and_a_reason():
    html = overview_page(registry(photos=model("photos", 3, missing=(2, 3))))
    assert tables(html)[0][1][2] == ["not", "evaluated", *NOT_YET.split()]
    assert f"{NOT_YET.rstrip('.')} (2 versions)" in html and "photos 2, photos 3" in html
    assert "3, 1 of them evaluated" in html


def test_models_that_share_modules_share_a_table():
    html = overview_page(
        registry(
            a=model("a", 1), b=model("b", 1, ("layer4", "neck")), c=model("c", 1, ("conv5",)),
            d=model("d", 1, ("neck", "head")), e=model("e", 1, missing=(1,)),
        )
    )  # fmt: skip
    found = tables(html)
    assert [[row[0][0] for row in table[1:]] for table in found] == [["c"], ["a", "b", "d"], ["e"]]
    assert [" ".join(cell) for cell in found[1][0]][5:-1] == [*LAYERS, "neck", "head"]
    assert found[1][2][5:9] == [["–"], ["–"], ["–"], found[1][2][8]] and found[1][2][8] != ["–"]
    assert len(found[2][0]) == 3  # of what has no scores: no columns for them


def test_many_modules_are_left_out_those_that_lag_last():
    names = tuple(f"blocks.{i}" for i in range(40))
    html = overview_page(registry(photos=model("photos", 40, names)[-2:]))
    columns = [" ".join(cell) for cell in tables(html)[0][0]][5:-1]
    assert len(columns) == MOST_COLUMNS and columns[-1] == "blocks. 39"
    assert "16 of 40 modules are shown" in html


def test_versions_on_other_images_have_letters_and_break_the_trend():
    versions = list(model("photos", 4))
    assert "Evaluated on" in overview_page(registry(photos=tuple(versions)))
    versions[1] = replace(versions[1], evaluation=evaluation(2, images="sha256:11", image_set="8 images of others"))
    html = overview_page(registry(photos=tuple(versions)))
    rows = tables(html)[0]
    assert rows[0][-2] == ["On"] and [row[-2] for row in rows[1:]] == [["A"], ["A"], ["B"], ["A"]]
    assert "8 images of others (sha256:11), by the predictor bundled" in html
    assert trend(versions).count('class="thin"') - trend(model("photos", 4)).count('class="thin"') == 4


def test_a_trend_needs_two_scores_and_says_them():
    assert trend(model("photos", 1)) == "" and trend(model("photos", 3, missing=(1, 2))) == ""
    assert 'aria-label="FMCS of 2 versions, from ' in trend(model("photos", 3, missing=(2,)))


def test_without_pages_to_lead_to_there_are_no_links():
    assert "<a " not in overview_page(replace(registry(photos=model("photos", 2)), ui=""))


@pytest.mark.parametrize("models", [{}, {"photos": ()}, {"photos": model("photos", 1, missing=(1,))}])
def test_little_is_a_page_too(models):
    assert "<h1>" in overview_page(registry(**models))


def test_names_from_outside_are_escaped():
    one = replace(model(HOSTILE, 1, (HOSTILE,))[0], why=HOSTILE, aliases=(HOSTILE,), decision=HOSTILE)
    html = overview_page(registry(**{HOSTILE: (one, replace(one, number=2, evaluation=None))}))
    assert "<script>document" not in html and "<img" not in html
    assert broken("a.<b>") == "a.<wbr>&lt;b&gt;"
