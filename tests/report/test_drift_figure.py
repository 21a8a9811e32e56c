from __future__ import annotations

import numpy as np

from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.report.drift_figure import MOST, drift_figure
from fmce_mlflow.report.style import png


def falling(rate, n=20):
    return assess([0.5 * rate**t for t in range(n)], signal="drift")


def test_a_line_for_each_module_and_a_dot_where_it_settled():
    drift = {"stem": falling(0.5), "neck": falling(0.97), "frozen": assess([0.0] * 20, signal="drift")}
    figure = drift_figure(drift, title="mine")
    (axes,) = figure.axes
    lines = [line for line in axes.get_lines() if len(line.get_xdata()) > 1]
    dots = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    np.testing.assert_allclose(lines[0].get_ydata()[:3], [0.25, 0.125, 0.0625])
    assert [dot.get_xdata()[0] for dot in dots] == [drift["stem"].point]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [f"stem, settled at {drift['stem'].point}", "neck, not settled", "frozen, not settled"]
    assert png(figure, dpi=60)


def test_many_modules_and_names_from_anywhere():
    figure = drift_figure({f"a$b_{i}$": falling(0.8) for i in range(MOST + 3)}, title="many")
    assert png(figure, dpi=60) and f"the first {MOST} of {MOST + 3} modules" in figure.get_suptitle()
