import io

import numpy as np
import pytest

from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.report.convergence_figure import convergence_figure
from fmce_mlflow.report.saliency_figure import history_figure, saliency_figure
from fmce_mlflow.report.style import png

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (3, 9, 12, 3), dtype=np.uint8)
MAPS = RNG.random((3, 9, 12)).astype(np.float32)
FIGURES = {
    "convergence": lambda: convergence_figure(
        assess([0.6**t for t in range(12)]), title="$x$ on digits", epochs=[t / 2 for t in range(12)]
    ),
    "saliency": lambda: saliency_figure(IMAGES, {"stage": MAPS}, ["cat", "dog", "a long name"], title="digits"),
    "history": lambda: history_figure(
        IMAGES, {"a": {0: MAPS, 2: MAPS}, "b": {0: MAPS, 2: MAPS}}, ["0", "1", "2"], fmcs={0: 0.0, 2: 1.0}, title="t"
    ),
}


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("dpi", [72, 160])
def test_a_figure_drawn_once_is_the_file_that_matplotlib_saves(name, dpi):
    file = io.BytesIO()
    FIGURES[name]().savefig(file, format="png", dpi=dpi)
    assert png(FIGURES[name](), dpi=dpi) == file.getvalue()
