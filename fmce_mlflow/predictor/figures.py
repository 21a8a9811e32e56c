"""Plots of how good a predictor is."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fmce_mlflow.method.fmce_net.belief import Prediction
from fmce_mlflow.report.style import BLUE, GREY, INK, SMALL, TEXT, VERMILION, plain, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def confusion_figure(confusion: NDArray[np.int64], *, title: str) -> Figure:
    """Bags by true (rows) and predicted level, int64 (K, K): each cell has its count and the share of its row.

    Example:
        >>> figure = confusion_figure(np.eye(3, dtype=np.int64), title="set net")
        >>> figure.axes[0].get_xlabel()
        'Predicted level'
    """
    from matplotlib.figure import Figure

    levels = len(confusion)
    shares = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    figure = Figure(figsize=(3.3, 3.2), dpi=200, layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = SMALL if levels <= 8 else max(3.0, 56 / levels)
    for (row, column), count in np.ndenumerate(confusion):
        if count:
            color = "white" if shares[row, column] > 0.55 else INK
            text = f"{count}\n{shares[row, column]:.0%}" if levels <= 8 else str(count)
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=color)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(range(levels))
        axis.set_ticks(np.arange(levels - 1) + 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)  # between cells
    axes.tick_params(which="both", labelsize=SMALL, length=0)
    axes.spines[:].set_linewidth(0.6)
    axes.set_xlabel("Predicted level", fontsize=TEXT)
    axes.set_ylabel("True level", fontsize=TEXT)
    axes.set_title(plain(textwrap.fill(title, 48)), fontsize=TEXT + 0.5, color=INK)
    return figure


def predictions_figure(rows: pd.DataFrame, predictions: Sequence[Prediction], *, title: str) -> Figure:
    """Predicted against true FMCS, and both over the snapshots of the run that is predicted worst.

    Args:
        rows: One per bag with run_id, backbone, dataset, module, snapshot and fmcs.
        predictions: One per bag.
        title: Stands above.
    """
    from matplotlib.figure import Figure

    frame = rows[["run_id", "backbone", "dataset", "module", "snapshot", "fmcs"]].assign(
        found=[p.fmcs for p in predictions], low=[p.low for p in predictions], high=[p.high for p in predictions]
    )
    keys = ["run_id", "backbone", "dataset", "module", "snapshot"]
    means = frame.groupby(keys, sort=False, observed=True).mean().reset_index()
    figure = Figure(figsize=(6.6, 3.1), dpi=200, layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes in (left, right):
        thin(axes)
    left.plot([0, 1], [0, 1], "-", color=GREY, linewidth=0.8, zorder=1)
    left.plot(means["fmcs"], means["found"], "o", color=BLUE, markersize=2.6, alpha=0.5, mew=0, zorder=2)
    left.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), aspect="equal")
    left.set_xlabel("True FMCS", fontsize=TEXT)
    left.set_ylabel("Predicted FMCS", fontsize=TEXT)
    left.set_title("Means of each snapshot's bags", fontsize=SMALL, color=INK)
    _draw_worst(right, means)
    figure.suptitle(plain(textwrap.fill(title, 90)), fontsize=TEXT + 0.5, color=INK)
    return figure


def _draw_worst(axes: Axes, means: pd.DataFrame) -> None:
    from matplotlib.ticker import MaxNLocator

    error: Any = (means["found"] - means["fmcs"]).abs()
    keys = ["run_id", "backbone", "dataset", "module"]
    errors = error.groupby([means[key] for key in keys], sort=False).mean()
    worst = errors.idxmax()
    part = means[(means[keys] == list(worst)).all(axis=1)].sort_values("snapshot")
    if (part["high"] > part["low"]).any():
        axes.fill_between(
            part["snapshot"], part["low"], part["high"], color=BLUE, alpha=0.15, linewidth=0, label="90 % interval"
        )
    axes.plot(part["snapshot"], part["fmcs"], "-", color=VERMILION, linewidth=1.2, label="true")
    axes.plot(part["snapshot"], part["found"], "o-", color=BLUE, linewidth=0.9, markersize=2.6, label="predicted")
    axes.set_ylim(-0.03, 1.03)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("Snapshot", fontsize=TEXT)
    axes.set_ylabel("FMCS", fontsize=TEXT)
    which = f"Worst of {len(errors)}: " if len(errors) > 1 else ""
    name = textwrap.fill(f"{which}{worst[1]} on {worst[2]}, {worst[3]}", 56)
    axes.set_title(f"{plain(name)}\nMAE {errors.max():.3f}", fontsize=SMALL, color=INK)
    axes.legend(fontsize=SMALL, frameon=False, loc="lower right")
