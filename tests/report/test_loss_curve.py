from __future__ import annotations

import numpy as np
import pytest

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.report.loss_curve import loss_curve

LOSSES = 0.05 + 2.25 * 0.66 ** np.arange(60)


@pytest.mark.parametrize(
    ("levels", "most", "labels"),
    [
        (5, 6, ["0", "0.25", "0.5", "0.75", "1"]),
        (7, 6, ["0", "", "0.33", "", "0.67", "", "1"]),
        (11, 10, ["0", "", "0.2", "", "0.4", "", "0.6", "", "0.8", "", "1"]),
        (2, 6, ["0", "1"]),
    ],
)
def test_as_many_markers_are_labelled_as_there_is_room_for(levels, most, labels):
    curve = loss_curve(assess(LOSSES, ConvergenceConfig(levels=levels)), most_labels=most)
    assert [marker.label for marker in curve.markers] == labels


def test_markers_lie_on_the_smoothed_loss():
    found = assess(LOSSES)
    curve = loss_curve(found, most_labels=6)
    assert [marker.snapshot for marker in curve.markers] == list(found.markers)
    assert [marker.loss for marker in curve.markers] == found.smoothed[list(found.markers)].tolist()
    assert curve.extent == (min(found.losses.min(), found.smoothed.min()), found.losses.max())
    assert curve.verdict == f"T = {found.point}" and curve.last == 59


def test_what_is_not_known_is_not_drawn():
    curve = loss_curve(assess([1.0] * 4), most_labels=6)
    assert curve.cqi is None and curve.markers == () and curve.verdict == "not converged"


def test_cqi_is_drawn_no_lower_than_a_hundredth_of_the_threshold():
    found = assess([8, 4, 2, 1, *[0] * 20], ConvergenceConfig(smoothing=0, window=1))
    curve = loss_curve(found, most_labels=6)
    assert curve.cqi.min() == found.config.threshold / 100 and len(curve.cqi) == 23
