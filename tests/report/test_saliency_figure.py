"""Panels of Grad-CAM: as large as the page they stand on, however many modules there are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.text import Text

from fmce_mlflow.report.saliency_figure import history_figure, saliency_figure, spread


@pytest.mark.parametrize(("modules", "rows"), [(1, 1), (12, 12), (13, 12), (151, 12)])
def test_a_panel_of_many_modules_shows_twelve_of_them(modules, rows):
    maps = {f"m{i}": np.zeros((2, 8, 8), np.float32) for i in range(modules)}
    figure = saliency_figure(np.zeros((2, 8, 8, 3), np.uint8), maps, ["a", "b"], title="t")
    names = [text.get_text() for text in figure.axes[0].texts if text.get_rotation()]
    assert len(figure.axes[0].images) == 2 * (1 + rows) and names[0] == "image" and figure.get_size_inches()[1] < 14
    assert names[1] == "m0" and names[-1] == f"m{modules - 1}" and len(set(names)) == 1 + rows


def test_a_spread_has_the_first_the_last_and_others_between_them_in_order():
    assert spread([]) == [] and spread([1]) == [1] and spread("ab") == ["a", "b"]
    found = spread(range(1000))
    assert found == sorted(set(found)) and len(found) == 12 and (found[0], found[-1]) == (0, 999)


@pytest.mark.parametrize(
    "label", ["y" * 200_000, "a word " * 30_000, "line\n" * 50_000, "$x_{1$ \\frac", "$" * 200_000]
)
def test_labels_are_cut_and_are_no_formulas(label):
    images, maps = np.zeros((2, 8, 8, 3), np.uint8), np.ones((2, 8, 8), np.float32)
    figures = [
        saliency_figure(images, {label: maps}, [label] * 2, title=label),
        history_figure(images, {label: {0: maps}}, [label] * 2, fmcs={0: 0.0}, title=label),
    ]
    for figure in figures:
        figure.savefig(io.BytesIO(), format="png", dpi=50)
        texts = [text.get_text() for text in figure.findobj(Text)]
        assert all(len(text) <= 700 for text in texts)
