"""Plots of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from fmce_mlflow.tuning.mirror import origin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TEXT, _SMALL = 8, 7
_INK, _BLUE, _VERMILION, _GREY = "#222222", "#0072B2", "#D55E00", "#888888"


def history_figure(trials: Sequence[FrozenTrial]) -> Figure:
    """Validation error of each trial, and the best so far.

    Args:
        trials: Trials, at least one with a value.

    Returns:
        A figure; pruned trials stand at their last value, those far above the others at its upper edge.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(4.8, 2.8), dpi=200, layout="constrained")
    axes = _axes(figure)
    ordered = sorted(trials, key=origin)
    valued = [(t.state, origin(t), t.value) for t in ordered if t.value is not None]
    complete = [(number, value) for state, number, value in valued if state is TrialState.COMPLETE]
    pruned = [(number, value) for state, number, value in valued if state is TrialState.PRUNED]
    lows = [v for _, v in complete or pruned]
    top = 1.15 * max(float(np.quantile(lows, 0.9)), 1.3 * min(lows))
    bottom = max(0.0, min(lows) - 0.12 * (top - min(lows)))
    for points, marker, color, label in (
        (pruned, "x", _GREY, "pruned, last value"),
        (complete, "o", _BLUE, "complete"),
    ):
        if points:
            x, y = zip(*points, strict=True)
            size = 3.5 if marker == "x" else 3
            axes.plot(x, np.minimum(y, top), marker, color=color, markersize=size, clip_on=False, label=label)
    failed = [origin(t) for t in ordered if t.state is TrialState.FAIL]
    if failed:
        axes.plot(failed, [bottom] * len(failed), "|", color=_VERMILION, markersize=5, clip_on=False, label="failed")
    if complete:
        x, y = zip(*complete, strict=True)
        last = max(origin(t) for t in ordered)
        best = [*np.minimum.accumulate(y), min(y)]
        axes.plot([*x, last], best, "-", drawstyle="steps-post", color=_VERMILION, linewidth=1.2, label="best so far")
    axes.set_ylim(bottom, top)
    axes.set_xlabel("Trial", fontsize=_TEXT)
    axes.set_ylabel("Validation MAE of FMCS", fontsize=_TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=4, fontsize=_SMALL, frameon=False, columnspacing=1.2)
    return figure


def importance_figure(importances: Mapping[str, float]) -> Figure:
    """How much of the validation error's variance each hyperparameter explains.

    Args:
        importances: Shares by hyperparameter, at least one.

    Returns:
        A figure, the largest share on top.

    Example:
        >>> importance_figure({"lr": 0.7, "width": 0.3}).axes[0].get_xlabel()
        'Share of the variance of validation MAE'
    """
    from matplotlib.figure import Figure

    names = sorted(importances, key=lambda name: importances[name])
    figure = Figure(figsize=(4.2, 0.75 + 0.2 * len(names)), dpi=200, layout="constrained")
    axes = _axes(figure)
    shares = [importances[name] for name in names]
    axes.barh([name.replace("_", " ") for name in names], shares, height=0.62, color=_BLUE)
    for row, share in enumerate(shares):
        axes.annotate(
            f"{share:.2f}", (share, row), (3, 0), textcoords="offset points", va="center", fontsize=_SMALL, color=_INK
        )
    axes.set_xlim(0, 1.15 * max(shares) or 1)
    axes.set_xlabel("Share of the variance of validation MAE", fontsize=_TEXT)
    axes.tick_params(axis="y", length=0)
    return figure


def _axes(figure: Figure) -> Axes:
    axes = figure.subplots()
    axes.tick_params(labelsize=_SMALL, width=0.6, length=2.5)
    axes.spines[["top", "right"]].set_visible(False)
    return axes
