from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from markupsafe import escape

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.evaluation.findings import ModelFacts, PredictorFacts
from fmce_mlflow.evaluation.page import evaluation_page
from fmce_mlflow.evaluation.verdict import next_steps, state
from fmce_mlflow.fmcs_dataset.page import dataset_page
from tests.helpers import reports
from tests.helpers.reports import Reader, finding, report, some_images, text


def test_the_bar_can_be_moved():
    found = finding("x", 0.7, 0.02)
    assert (state(found, 0.6), state(found, 0.9)) == ("mature", "immature")
    assert "FMCS of at least 0.6" in text(evaluation_page(report(found, mature=0.6)))


def test_a_page_says_what_was_found():
    page = text(evaluation_page(report()))
    for words in (
        "models:/digits-classifier/3",
        "digits, held-out images, 359 images in bags of 64, digest 9c1e44d0",
        "conv5 is about 62% of the way to convergence (90% interval 50–74%); it is not yet trained enough to build on.",
        "Converged at snapshot 15 of 24",
        "this model, snapshot 9",
        "FMCS, measured in training 0.60, inside",
        "By its features, the model lies within that corpus (distance 1.1; about 1 inside).",
        "34 runs of 10 backbones on digits, MNIST and CIFAR-10.",
        "backbones that it was not fitted to 0.16 0.93 47% 88% 83%",
        "It has not been measured on data sets that it was not fitted to.",
        "No module was named: conv5 is the last feature stage",
    ):
        assert words in page


def test_a_page_of_several_modules_names_the_least_mature():
    page = text(evaluation_page(reports.several()))
    assert "Of 5 modules, 4 decide; the least mature of them: head.tower.0 is about 31% of the way" in page
    assert "rpn.head.conv (?)" in page and "unlike what the predictor knows" in page
    assert "rpn.head.conv lies outside that corpus (distance up to 3.2" in page


def test_a_module_from_the_middle_of_a_network_gets_no_verdict():
    """Issue 4: a converged network's first layer was called 8% of the way to convergence, and to be trained further."""
    found = report(
        finding("conv1", 0.08, early=True, measured=1.0),
        finding("layer4", 0.95, 0.01),
        model=ModelFacts("models:/x/3", model_id="m-1"),
    )
    page = text(evaluation_page(found))
    assert "mature Of 2 modules, layer4 alone decides: layer4 is about 95%" in page and "conv1 (?)" in page
    assert "conv1 lies earlier in the network than the last feature stage" in page
    steps = " ".join(next_steps(found))
    assert "Score conv1 with a predictor that knows such modules" in steps
    assert "Train conv1" not in steps and "Find out why" not in steps and "Let it through" not in steps
    assert "Logged model m-1" in page


def test_what_is_not_known_is_not_shown():
    nothing = np.zeros(0)
    bare = finding("x", 0.4, 0.0, image_scores=nothing, image_focus=nothing, distance=float("nan"), shape=None, bags=0)
    predictor = PredictorFacts(name="p")
    page = evaluation_page(
        report(bare, training=None, saliency=None, warnings=(), images=some_images(1), predictor=predictor)
    )
    words = text(page)
    for absent in ("How its training went", "Where it looks", "Notes", "Scores of images", "focus of", "nan", "None"):
        assert absent not in words
    assert "cannot tell how far the model lies" in words and "d, 1 image" in words and "<img" not in page


def test_hostile_names_are_escaped_everywhere():
    page = evaluation_page(reports.hostile())
    table, found = reports.table(2, backbone=reports.HOSTILE, module=reports.HOSTILE, dataset=reports.HOSTILE)
    other = dataset_page(table, found, run_id=reports.HOSTILE, unlabelled={reports.HOSTILE: reports.HOSTILE})
    for written in (page, other):
        reader = Reader(written)
        assert "<script" not in written and "49" not in re.findall(r"\{\{.*?\}\}", written)
        assert not any(name.startswith("on") for name, _ in reader.attributes)
        assert str(escape(reports.HOSTILE)) in written


def test_a_page_needs_nothing_from_elsewhere():
    page = evaluation_page(reports.several())
    assert re.findall(r"(?:src|href)=\"(?!data:image/png)", page) == [] and "url(" not in page and "@import" not in page


@pytest.mark.parametrize(
    ("modules", "message"),
    [((), "at least one module, got none"), ((finding("x", 1.5),), r"fmcs of module 'x' must be in \[0, 1\], got 1.5")],
)
def test_a_report_that_cannot_be(modules, message):
    with pytest.raises(ConfigError, match=message):
        replace(report(), modules=modules)
