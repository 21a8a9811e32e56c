from __future__ import annotations

from dataclasses import replace

import pytest

from fmce_mlflow.evaluation.findings import TrainingRun
from fmce_mlflow.evaluation.verdict import next_steps, state, verdict
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from tests.helpers import reports
from tests.helpers.reports import finding, report, some_images


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
