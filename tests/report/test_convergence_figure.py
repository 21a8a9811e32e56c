from __future__ import annotations

import io
import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from fmce_mlflow.errors import ConvergenceError
from fmce_mlflow.method.convergence.config import ConvergenceConfig
from fmce_mlflow.method.convergence.drift import drift_sequence
from fmce_mlflow.method.convergence.verdict import assess
from fmce_mlflow.report.convergence_figure import _spread, convergence_figure

RNG = np.random.default_rng(0)
NORMAL = 0.05 + 2.25 * 0.66 ** np.arange(21)
PLATEAU = [2.303, 2.302, 2.301, 2.3, 1.6, 0.9, 0.5, 0.3, 0.2, 0.15, 0.12, 0.11, 0.105, 0.103, 0.102, 0.101, 0.101, 0.1]
RUNS = {
    "normal": (NORMAL, ConvergenceConfig()),
    "plateau": (PLATEAU, ConvergenceConfig()),
    "not converged": (2.3 - 0.09 * np.arange(20), ConvergenceConfig()),
    "six": ([2.3, 0.6, 0.2, 0.1, 0.09, 0.09], ConvergenceConfig(smoothing=0.1, window=1)),
    "two": ([2.0, 1.0], ConvergenceConfig()),
    "long": (0.05 + 2.25 * 0.9 ** np.arange(201) + 0.03 * RNG.random(201), ConvergenceConfig()),
    "crowded": (0.05 + 2.25 * 0.66 ** np.arange(201), ConvergenceConfig(levels=11)),
}


def judged(name, signal="train"):
    losses, config = RUNS[name]
    return assess(losses, config, signal=signal)


def extent(text):
    return Text.get_window_extent(text)  # an annotation's own extent includes its leader line


def marker_labels(figure):
    return [text for text in figure.axes[0].texts if text.get_text()]


@pytest.mark.parametrize("name", RUNS)
def test_nothing_overlaps_and_nothing_is_cut_off(name):
    run = judged(name)
    epochs = np.arange(len(run.losses)) / 4
    figure = convergence_figure(run, title="a title\nof two lines", epochs=epochs, other=judged(name, "val"))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    panels = [*figure.axes, *figure.axes[0].child_axes]
    texts = [text for axes in panels for text in (*axes.texts, axes.xaxis.label, axes.yaxis.label)]
    for axes in panels[1:]:  # the upper panel shares the lower one's labels
        low, high = axes.get_xlim()
        texts += [
            tick.label2 if tick.label2.get_visible() else tick.label1
            for tick in axes.xaxis.get_major_ticks()
            if low <= tick.get_loc() <= high
        ]
    for axes in figure.axes:
        low, high = axes.get_ylim()
        texts += [tick.label1 for tick in axes.yaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    boxes = [extent(text) for text in (*texts, *figure.texts) if text.get_text()]
    boxes.append(figure.legends[0].get_window_extent())
    assert len(boxes) > 15
    for first, second in itertools.combinations(boxes, 2):
        assert not first.overlaps(second)
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1
    assert not any(figure.legends[0].get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)


@pytest.mark.parametrize("name", ["normal", "long", "crowded"])
def test_no_curve_runs_through_the_labels_of_the_markers(name):
    figure = convergence_figure(judged(name), title=name)
    FigureCanvasAgg(figure).draw()
    upper = figure.axes[0]
    floor = min(extent(text).y0 for text in marker_labels(figure))
    for line in upper.lines[:2]:
        assert upper.transData.transform(line.get_xydata())[:, 1].max() < floor


def test_it_shows_t_the_markers_and_the_threshold():
    run = judged("normal")
    figure = convergence_figure(run, title="digits")
    upper, lower = figure.axes
    assert [text.get_text() for text in marker_labels(figure)] == ["0", "0.25", "0.5", "0.75", "1"]
    assert [text.xy[0] for text in marker_labels(figure)] == list(run.markers)
    assert lower.get_yscale() == "log"
    assert [text.get_text() for text in lower.texts] == [f"T = {run.point}"]
    assert any(np.all(np.asarray(line.get_ydata()) == 0.02) for line in lower.lines)
    for axes in (upper, lower):
        assert any(np.all(np.asarray(line.get_xdata()) == run.point) for line in axes.lines)
    np.testing.assert_array_equal(upper.lines[0].get_ydata(), run.losses)
    np.testing.assert_array_equal(upper.lines[1].get_ydata(), run.smoothed)
    np.testing.assert_array_equal(lower.lines[0].get_xdata(), range(1, 21))
    np.testing.assert_allclose(lower.lines[0].get_ydata(), run.cqi[1:])


def test_a_run_that_has_not_converged_says_so():
    figure = convergence_figure(judged("not converged"), title="still learning")
    upper, lower = figure.axes
    assert [text.get_text() for text in lower.texts] == ["not converged"]
    assert not upper.texts and not upper.patches and not lower.patches


def test_a_run_in_which_nothing_changed_is_drawn():
    """It has no CQI, and its figure was refused by matplotlib, which failed the run that had ended."""
    upper, lower = convergence_figure(assess([1.0] * 4), title="nothing learned").axes
    assert [text.get_text() for text in lower.texts] == ["not converged"]
    assert len(upper.lines) == 2 and len(lower.lines) == 1


def test_eleven_levels_label_every_second_marker():
    figure = convergence_figure(judged("crowded"), title="K = 11")
    assert [text.get_text() for text in marker_labels(figure)] == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


@pytest.mark.parametrize("epochs", [None, list(range(21)), np.arange(21.0)])
def test_no_epoch_axis_where_snapshots_are_epochs(epochs):
    figure = convergence_figure(judged("normal"), title="", epochs=epochs)
    assert not figure.axes[0].child_axes


def test_an_epoch_axis_is_placed_by_the_epochs():
    figure = convergence_figure(judged("normal"), title="", epochs=np.arange(21) / 4)
    (top,) = figure.axes[0].child_axes
    assert top.get_xlabel() == "Epoch"
    assert {label.get_text(): tick for tick, label in zip(top.get_xticks(), top.get_xticklabels(), strict=True)} == {
        str(epoch): 4 * epoch for epoch in range(6)
    }


def test_a_loss_far_above_the_other_is_cut_and_said():
    run = judged("normal")
    astray = assess(2.3 + 40 * np.exp(-((np.arange(21) - 8.0) ** 2)), signal="val")
    figure = convergence_figure(run, title="", other=astray)
    assert "validation loss (cut, rises to 42)" in [text.get_text() for text in figure.legends[0].get_texts()]
    assert figure.axes[0].get_ylim()[1] < 9


def test_cqi_of_0_is_drawn_at_the_edge():
    run = assess([8, 4, 2, 1, *[0] * 20], ConvergenceConfig(smoothing=0, window=1))
    assert run.cqi[-1] == 0
    lower = convergence_figure(run, title="").axes[1]
    assert min(lower.lines[0].get_ydata()) == 0.02 / 100 > lower.get_ylim()[0]


def test_units():
    drift = assess(drift_sequence(0.5 * 0.7 ** np.arange(20)), signal="drift")
    assert convergence_figure(drift, title="").axes[0].get_ylabel() == "Feature drift (1 − CKA)"
    assert convergence_figure(drift, title="").axes[1].get_ylabel().startswith("CQI (drift range")
    assert convergence_figure(judged("normal"), title="", unit=None).axes[0].get_ylabel() == "Loss"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": [0, 1]}, "epochs has 2 values, but the run has 21 snapshots"),
        ({"epochs": [0.0] * 21}, "epochs must increase"),
        ({"other": judged("six")}, "other has 6 values"),
    ],
)
def test_lists_that_do_not_fit(arguments, message):
    with pytest.raises(ConvergenceError, match=message):
        convergence_figure(judged("normal"), title="", **arguments)


def test_it_saves_as_png_at_column_width_with_any_title():
    file = io.BytesIO()
    convergence_figure(judged("normal"), title="costs $5 or $6 · " + "long " * 20).savefig(file, format="png")
    assert Image.open(file).size[0] == 1050


def test_drawing_leaves_no_global_state():
    code = (
        "import sys; import fmce_mlflow.report.convergence_figure as r\n"
        "from fmce_mlflow.method.convergence.verdict import assess\n"
        "assert not {'matplotlib', 'torch', 'mlflow'} & set(sys.modules)\n"
        "import matplotlib; before = matplotlib.rcParams.copy()\n"
        "r.convergence_figure(assess([0.6**t for t in range(20)]), title='x')\n"
        "assert 'matplotlib.pyplot' not in sys.modules and matplotlib.rcParams.copy() == before"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10).map(sorted))
def test_spread_labels_keep_their_order_and_distance(places):
    spread = _spread(places, gap=0.085)
    assert all(b - a >= 0.085 - 1e-9 for a, b in itertools.pairwise(spread))
    assert spread[-1] <= 1 - 0.085 / 2 + 1e-9 and spread[0] > 0 - 1e-9


def test_labels_with_room_are_not_moved():
    assert _spread([0.1, 0.4, 0.9], gap=0.085) == [0.1, 0.4, 0.9]
