from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from markupsafe import escape

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.evaluation.findings import ModelFacts, PredictorFacts, TrainingRun
from fmce_mlflow.evaluation.page import evaluation_page
from fmce_mlflow.evaluation.verdict import next_steps, state, verdict
from fmce_mlflow.fmcs_dataset.build import PAGE, build_fmcs
from fmce_mlflow.fmcs_dataset.page import MOST_CURVES, dataset_page
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.report.svg import histogram_chart, interval_chart, levels_chart, loss_chart, shortened
from fmce_mlflow.report.templating import code
from fmce_mlflow.runs.run import Run
from tests.conftest import fast_options, new_run
from tests.helpers import reports
from tests.helpers.reports import finding, report, some_images

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """The page's text, and its tags checked to be nested rightly."""

    def __init__(self, page):
        super().__init__()
        self.open, self.text, self.attributes = [], [], []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)


def text(page):
    return " ".join(" ".join(Reader(page).text).split())


@pytest.mark.parametrize(
    ("fmcs", "std", "more", "badge", "words"),
    [
        (0.97, 0.02, {}, "mature", "it is trained enough to build on"),
        (0.93, 0.06, {}, "likely", "probably trained enough to build on, though the interval reaches below"),
        (
            0.84,
            0.08,
            {},
            "unlikely",
            "probably not yet trained enough to build on, though the interval reaches the bar",
        ),
        (0.62, 0.07, {}, "immature", "is about 62% of the way to convergence (90% interval 50–74%); it is not yet"),
        (0.97, 0.02, {"far": True}, "unknown", "unlike those that the predictor was trained on"),
        (
            0.62,
            0.07,
            {"early": True},
            "unknown",
            "it lies earlier in its network than the modules that the predictor was trained on",
        ),
        (0.62, 0.0, {}, "immature", "(the predictor gives no interval); it is not yet"),
        (0.95, 0.0, {}, "mature", "(the predictor gives no interval); it is trained enough"),
        (1.0, 0.01, {}, "mature", "x looks fully converged (90% interval 98–100%); it is trained enough"),
    ],
)
def test_verdicts(fmcs, std, more, badge, words):
    found = finding("x", fmcs, std, **more)
    assert state(found) == badge and words in verdict(found)


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
        "FMCS, measured by losses 0.60, inside",
        "By its features, the model lies within that corpus (distance 1.1; about 1 inside).",
        "34 runs of 10 backbones on digits, MNIST and CIFAR-10.",
        "backbones that it was not fitted to 0.16 0.93 47% 88% 83%",
        "It has not been measured on data sets that it was not fitted to.",
        "No module was named: conv5 is the last feature stage",
    ):
        assert words in page


def test_a_page_of_several_modules_names_the_least_mature():
    page = text(evaluation_page(reports.several()))
    assert "The least mature of 5 modules: head.tower.0 is about 31% of the way" in page
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
    assert "cannot tell The least mature of 2 modules: conv1 is about 8%" in page and "conv1 (?)" in page
    assert "Of the modules that the predictor knows: layer4 is about 95%" in page
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


def test_next_steps_follow_from_the_findings():
    steps = " ".join(next_steps(reports.several()))
    assert "Score rpn.head.conv with a predictor that knows such models" in steps
    assert "Train head.tower.0 and neck further" in steps and "backbone.body.layer4.1.conv2 could be frozen" in steps
    mature = report(finding("x", 0.97, 0.02))
    assert next_steps(mature)[0].startswith("Let it through")
    assert not any(step.startswith(("Train", "Let")) for step in next_steps(report(finding("x", 0.95, far=True))))
    disagreeing = report(finding("x", 0.2, 0.02, measured=1.0))
    assert "Find out why x scores 0.20 where the losses of its run say 1.00" in " ".join(next_steps(disagreeing))
    few = replace(mature, images=some_images(8))
    assert "8 are few" in " ".join(next_steps(few))
    unconverged = assess(reports.losses(), ConvergenceConfig(threshold=1e-9))
    still = replace(mature, training=TrainingRun("9c1e44d0", 9, convergence=unconverged))
    assert "has not converged by its losses" in " ".join(next_steps(still))


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


def test_a_dataset_page_has_every_run_and_what_was_left_out():
    table, found = reports.table(6)
    page = dataset_page(table, found, run_id="ab12", left_out={"f00d": "Not converged: CQI is 0.03."})
    words = text(page)
    assert page.count("<svg") == 7 and "6 runs of shufflenet_v2_x0_5, resnet18 on digits" in words
    assert "150 labelled feature-map files of 6 runs, 2 backbones and 1 data set." in words
    assert "f00d : Not converged: CQI is 0.03." in words and "Kept without a label" not in words
    assert "fmce train-fmce-net --fmcs-run ab12 --cross-validate" in words
    assert "05c0ffee resnet18 digits 5 layer4 256 × 1024 × 4 × 4 15 0, 4, 8, 11, 15 25" in words


def test_a_dataset_page_of_many_runs_stays_small():
    table, found = reports.table(MOST_CURVES + 5)
    page = dataset_page(table, found, run_id="ab12")
    assert page.count("<svg") == MOST_CURVES + 1 and "5 more are not drawn" in page and len(page) < 400_000


def test_a_dataset_without_labels_has_a_page():
    table, _ = reports.table(1)
    table["fmcs"], table["level"] = np.nan, None
    run_id = str(table["run_id"][0])
    still = assess(reports.losses(), ConvergenceConfig(threshold=1e-9))
    page = text(dataset_page(table, {run_id: still}, run_id="ab12", unlabelled={run_id: still.verdict()}))
    assert "1 run in it has no label." in page and "none none 25" in page and "one run cannot be scored" in page


@pytest.mark.parametrize("signal", ["train", "drift"])
def test_building_a_dataset_logs_its_page(client, data, signal):
    jobs = [fast_options(modules=("stem", "stage"), signal=signal, training={"seed": seed}) for seed in (0, 1)]
    run_id = new_run(client)
    built = build_fmcs(Run(client, run_id, lambda line: None), jobs, {"digits": data}, unconverged="keep")
    words = text(Path(client.download_artifacts(run_id, PAGE)).read_text(encoding="utf-8"))
    assert f"{len(built.table['run_id'].unique())} runs of tests.helpers.nets:tiny on digits" in words
    assert (
        words.count("tests.helpers.nets:tiny on digits, seed")
        == len(built.convergences)
        == (2 if signal == "train" else 4)
    )


def numbers(svg, what):
    return [float(v) for v in re.findall(rf'{what}="(-?[\d.]+)"', svg)]


def test_a_histogram_counts_every_finite_value():
    svg = histogram_chart([0, 0.01, 0.5, 1.0, np.nan], quantity="q", count="images", label="l", mark=0.5)
    heights = numbers(svg, "height")
    assert len(heights) == 3 and heights[0] == 2 * heights[1] == 2 * heights[2]


def test_charts_stay_inside_themselves():
    converged = reports.convergence()
    never = assess([3.0, 2.0, 5.0, 1.0], ConvergenceConfig(threshold=1e-9))
    still = assess([1.0] * 4)
    charts = [
        *(loss_chart(c, label="l", small=small, here=1) for c in (converged, never, still) for small in (False, True)),
        levels_chart([0.5] * 21, label="l"),
        interval_chart([("m", 0.0, 0.0, 0.0, 1.0), ("n", 1.0, 1.0, 1.0, None)], mature=0.9, label="l"),
    ]
    for svg in charts:
        width, height = map(float, re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
        for name, most in (("x", width), ("x1", width), ("cx", width), ("y", height), ("y2", height), ("cy", height)):
            assert all(0 <= value <= most for value in numbers(svg, rf" {name}"))
        assert "nan" not in svg


def test_what_stands_in_backquotes_is_code():
    assert code("a `b` <c>") == "a <code>b</code> &lt;c&gt;" and code("a ` b") == "a ` b"
    assert code("`<x>`") == "<code>&lt;x&gt;</code>"


def test_long_names_lose_their_middle():
    assert shortened("a" * 50, 10) == "aaaa…aaaaa" and shortened("short", 10) == "short"
