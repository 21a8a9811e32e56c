from __future__ import annotations

import numpy as np
import pytest

from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.report.loss_curve import drawn_cqi, epoch_markers, extent, point_text

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
    markers = epoch_markers(assess(LOSSES, ConvergenceConfig(levels=levels)), most_labels=most)
    assert [marker.label for marker in markers] == labels


def test_markers_lie_on_the_smoothed_loss():
    found = assess(LOSSES)
    markers = epoch_markers(found, most_labels=6)
    assert [marker.snapshot for marker in markers] == list(found.markers)
    assert [marker.loss for marker in markers] == found.smoothed[list(found.markers)].tolist()
    assert extent(found) == (min(found.losses.min(), found.smoothed.min()), found.losses.max())
    assert point_text(found) == f"T = {found.point}"


def test_what_is_not_known_is_not_drawn():
    found = assess([1.0] * 4)
    assert drawn_cqi(found) is None and epoch_markers(found, most_labels=6) == []
    assert point_text(found) == "not converged"


def test_cqi_is_drawn_no_lower_than_a_hundredth_of_the_threshold():
    found = assess([8, 4, 2, 1, *[0] * 20], ConvergenceConfig(smoothing=0, window=1))
    assert drawn_cqi(found).min() == found.config.threshold / 100 and len(drawn_cqi(found)) == 23
