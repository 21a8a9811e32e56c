"""Names from outside are text in every figure: no formula, and no character that cannot be written."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.predictor.figures import confusion_figure, predictions_figure
from fmce_mlflow.report.convergence_figure import convergence_figure
from fmce_mlflow.report.saliency_figure import history_figure, saliency_figure
from fmce_mlflow.wording import printable

NAMES = ["$5_^", "x$_a_b$y", r"a\$b$", "${", "caf\udce9", r"\frac{", "100 % #1 _{}^~", "$$"]
IMAGES = np.zeros((2, 8, 8, 3), np.uint8)
MAPS = np.ones((2, 8, 8), np.float32)
ROWS = {"run_id": "r", "backbone": "tiny", "snapshot": [0, 1], "fmcs": [0.0, 1.0]}
FIGURES = {
    "convergence": lambda name: convergence_figure(assess([0.6**t for t in range(12)]), title=f"tiny on {name}"),
    "saliency": lambda name: saliency_figure(IMAGES, {name: MAPS}, [name, name], title=name),
    "history": lambda name: history_figure(
        IMAGES, {name: {0: MAPS, 4: MAPS}}, [name, name], fmcs={0: 0.0, 4: None}, title=name
    ),
    "confusion": lambda name: confusion_figure(np.eye(3, dtype=np.int64), title=name),
    "predictions": lambda name: predictions_figure(
        pd.DataFrame({**ROWS, "dataset": printable(name), "module": printable(name)}), predictions(), title=name
    ),
}


def predictions():
    return [Prediction(f, 0.1, 0.0, 1.0, np.array([1 - f, f]), int(f)) for f in (0.0, 1.0)]


@pytest.mark.parametrize("figure", FIGURES)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_drawn_as_it_is(figure, name):
    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none"}):
        FIGURES[figure](name).savefig(drawn, format="svg")
    words = printable(name).split()
    shown = drawn.getvalue().replace("&amp;", "&")
    assert all(word in shown for word in words)
