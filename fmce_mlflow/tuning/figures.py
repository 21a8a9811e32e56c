"""Plots of a study.

Optuna draws the importance of hyperparameters. Its history leaves out trials that were pruned or failed, and its
learning curves show neither those nor the best one; both have linear axes, on which the good trials are one line. So
these two are drawn here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from optuna.importance import FanovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from fmce_mlflow.report.style import BLUE, GREY, SMALL, TEXT, VERMILION, thin
from fmce_mlflow.tuning.mirror import origin
from fmce_mlflow.tuning.storage import quiet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from optuna import Study

_SMALLEST = 1e-6  # of what a logarithmic axis shows


def trials_figure(trials: Sequence[FrozenTrial]) -> Figure:
    """Validation error of each trial, and the best so far; pruned ones at their last value, failed at the bottom."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure((4.8, 2.8))
    ordered = sorted(trials, key=origin)
    for state, marker, color, size, label in (
        (TrialState.PRUNED, "x", GREY, 3.5, "pruned, last value"),
        (TrialState.COMPLETE, "o", BLUE, 3, "complete"),
    ):
        points = [(origin(t), max(t.value, _SMALLEST)) for t in ordered if t.state is state and t.value is not None]
        if points:
            x, y = zip(*points, strict=True)
            axes.plot(x, y, marker, color=color, markersize=size, label=label)
        if points and state is TrialState.COMPLETE:
            best = [*np.minimum.accumulate(y), min(y)]
            last = max(origin(t) for t in ordered)
            axes.plot([*x, last], best, "-", drawstyle="steps-post", color=VERMILION, linewidth=1.2,
                      label="best so far", zorder=1)  # fmt: skip
    failed = [origin(t) for t in ordered if t.state is TrialState.FAIL]
    if failed:
        axes.plot(failed, [0.015] * len(failed), "|", color=VERMILION, markersize=6, markeredgewidth=1.2,
                  transform=axes.get_xaxis_transform(), label="failed")  # fmt: skip
    _error_axis(axes)
    axes.set_xlabel("Trial", fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=4, fontsize=SMALL, frameon=False, columnspacing=1.2)
    return figure


def curves_figure(trials: Sequence[FrozenTrial]) -> Figure:
    """Validation error of each trial by pass; a pruned trial's curve ends where it was given up."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _figure((4.8, 2.8))
    complete = [t for t in trials if t.state is TrialState.COMPLETE and t.value is not None]
    first = min(complete, key=lambda t: (t.value, origin(t)), default=None)
    seen: set[str] = set()
    for trial in sorted(trials, key=lambda t: (t is first, t.state is TrialState.COMPLETE)):
        label, color, width = "pruned or failed", GREY, 0.5
        if trial.state is TrialState.COMPLETE:
            label, color, width = "complete", BLUE, 0.6
        if trial is first:
            label, color, width = f"best, trial {origin(trial)}", VERMILION, 1.3
        curve = sorted((step, value) for step, value in trial.intermediate_values.items() if np.isfinite(value))
        if curve:
            x, y = zip(*curve, strict=True)
            shown = "_" if label in seen else label
            axes.plot(x, np.maximum(y, _SMALLEST), color=color, linewidth=width, alpha=0.85, label=shown)
            if trial.state is not TrialState.COMPLETE:
                axes.plot(x[-1], max(y[-1], _SMALLEST), "x", color=GREY, markersize=2.5, markeredgewidth=0.7)
            seen.add(label)
    _error_axis(axes)
    axes.set_xlabel("Pass over the training bags", fontsize=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=3, fontsize=SMALL, frameon=False, columnspacing=1.2)
    return figure


def importance_figure(study: Study, names: list[str]) -> Figure:
    """How much of the validation error's variance each hyperparameter explains, as Optuna draws it."""
    import matplotlib.pyplot as plt
    from optuna.visualization.matplotlib import plot_param_importances

    with quiet(), plt.rc_context():  # Optuna changes the style of every later figure
        plot_param_importances(
            study, evaluator=FanovaImportanceEvaluator(seed=0), params=names, target_name="Validation MAE"
        )
        figure = plt.gcf()
        figure.set_size_inches(5.6, 1.6 + 0.2 * len(names))
        figure.tight_layout()
    plt.close(figure)
    return figure


def _figure(size: tuple[float, float]) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=200, layout="constrained")
    axes = figure.subplots()
    thin(axes)
    return figure, axes


def _error_axis(axes: Axes) -> None:
    """Logarithmic, with its labels written out, and at least an octave high."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, max(high, 2 * low))
    wide = high / low > 30
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if wide else (1, 1.5, 2, 3, 4, 5, 6, 8)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel("Validation MAE of FMCS", fontsize=TEXT)
