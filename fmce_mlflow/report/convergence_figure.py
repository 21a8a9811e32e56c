"""Figures for people: what a run's numbers look like on a page.

matplotlib is imported when a figure is drawn, and only its object-oriented interface is used: drawing changes no global
state and works in any thread.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.errors import ConvergenceError
from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.verdict import Convergence

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart with any colour vision; line styles and marker shapes differ too.
_BLUE, _VERMILION, _GREEN = "#0072B2", "#D55E00", "#009E73"
_GREY, _PALE, _INK = "#8A8A8A", "#D0D0D0", "#222222"
_COLUMN_WIDTH = 3.5  # inches, of a two-column paper
_TEXT, _SMALL = 7.5, 6.5  # points
_STRIP = 0.87  # of the upper panel's height; above it stand the markers' labels and nothing else


def convergence_figure(
    convergence: Convergence,
    *,
    title: str,
    epochs: Sequence[float] | None = None,
    other: Convergence | None = None,
    unit: str | None = "nats",
) -> Figure:
    r"""Loss, smoothed loss, CQI with its threshold, the convergence point and the epoch markers.

    Sized for one column of a paper at 300 dpi. CQI more than two decades below the threshold is drawn at the lower
    edge of its logarithmic axis. A second loss that runs far above the first is cut, and the legend says how high it
    goes.

    Args:
        convergence: What to draw.
        title: The line above it.
        epochs: The epoch of each snapshot, increasing, shape (E+1,); drawn as a second axis where snapshots are not
            epochs.
        other: The same run judged by another signal, drawn muted behind.
        unit: Unit of the loss; None for no unit. Feature drift never has one.

    Returns:
        A figure that belongs to no window: save it with ``figure.savefig`` or ``mlflow.log_figure``.

    Raises:
        ConvergenceError: ``epochs`` or ``other`` of another length, or epochs that do not increase.

    Example:
        >>> from fmce_mlflow.method.convergence.verdict import assess
        >>> figure = convergence_figure(assess([0.6**t for t in range(20)]), title="digits, seed 0")
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['Loss (nats)', 'CQI (loss range\nper snapshot)']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    snapshots = np.arange(len(convergence.losses))  # (E+1,)
    for name, given in (("epochs", epochs), ("other", None if other is None else other.losses)):
        if given is not None and len(given) != len(snapshots):
            raise ConvergenceError(
                f"{name} has {len(given)} values, but the run has {len(snapshots)} snapshots; give one for each."
            )

    figure = Figure(figsize=(_COLUMN_WIDTH, 3.7), dpi=300, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    for axes in (upper, lower):
        axes.tick_params(which="both", labelsize=_SMALL, width=0.6, length=2.5)
        axes.tick_params(which="minor", width=0.4, length=1.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_linewidth(0.6)
    lower.set_xlim(-0.02 * snapshots[-1] - 0.15, 1.02 * snapshots[-1] + 0.15)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    lower.set_xlabel("Snapshot", fontsize=_TEXT)

    _draw_losses(upper, convergence, other, unit)
    _draw_markers(upper, convergence)
    _draw_cqi(lower, convergence)
    if convergence.point is not None:
        for axes, top in ((upper, _STRIP), (lower, 1.0)):
            axes.axvspan(convergence.point, axes.get_xlim()[1], color=_GREEN, alpha=0.10, linewidth=0, zorder=0)
            axes.axvline(convergence.point, ymax=top, color=_GREEN, linewidth=1.0, zorder=1.5)
    if epochs is not None and not np.array_equal(epochs, snapshots):
        _draw_epoch_axis(upper, snapshots, np.asarray(epochs, dtype=np.float64))

    figure.suptitle(textwrap.fill(title, 60), fontsize=_TEXT + 0.5, color=_INK, parse_math=False)
    legend = figure.legend(
        loc="outside lower center", ncols=2, fontsize=_SMALL, frameon=False, handlelength=1.8, columnspacing=1.4
    )
    for line in legend.get_lines():
        line.set_markersize(3.2)
    figure.align_ylabels()
    return figure


def _draw_losses(axes: Axes, convergence: Convergence, other: Convergence | None, unit: str | None) -> None:
    from matplotlib.patches import Rectangle

    losses = convergence.losses
    snapshots = np.arange(len(losses))
    low, high = float(losses.min()), float(losses.max())
    name = SIGNAL_NAMES[convergence.signal]
    size = float(np.clip(160 / len(losses), 1.8, 3.2))
    axes.plot(snapshots, losses, "o", color=_BLUE, markersize=size, alpha=0.45, mew=0, label=name, zorder=3)
    axes.plot(snapshots, convergence.smoothed, "-", color=_BLUE, linewidth=1.2, label=f"{name}, smoothed", zorder=4)
    if other is not None:
        label = SIGNAL_NAMES[other.signal]
        top, limit = float(other.losses.max()), high + 1.5 * (high - low)
        if top > limit:
            label += f" (cut, rises to {top:.2g})"
        (line,) = axes.plot(snapshots, other.losses, "--", color=_GREY, linewidth=0.9, label=label, zorder=2)
        if convergence.converged:
            line.set_clip_path(Rectangle((0, 0), 1, _STRIP, transform=axes.transAxes))
        low, high = min(low, float(other.losses.min())), max(high, min(top, limit))
    span = (high - low) or 1.0
    axes.set_ylim(low - 0.06 * span, high + 0.24 * span if convergence.converged else high + 0.06 * span)
    drift = convergence.signal == "drift"
    quantity = "Feature drift (1 − CKA)" if drift else f"Loss ({unit})" if unit else "Loss"
    axes.set_ylabel(quantity, fontsize=_TEXT)


def _draw_markers(axes: Axes, convergence: Convergence) -> None:
    if convergence.markers is None:
        return
    heights = convergence.smoothed[list(convergence.markers)]  # (K,)
    axes.plot(
        convergence.markers, heights, "D", color=_VERMILION, markersize=3.6, mec="white", mew=0.5,
        label="epoch marker with its FMCS", zorder=6,
    )  # fmt: skip
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    spots = [(snapshot - left) / (right - left) for snapshot in convergence.markers]
    levels = len(spots)
    step = next(n for n in range(1, levels + 1) if (levels - 1) // n < 10)
    shown = sorted({*range(0, levels - step, step), 0, levels - 1})
    for level, place in zip(shown, _spread([spots[k] for k in shown], gap=0.085), strict=True):
        text = f"{level / (levels - 1):.2f}".rstrip("0").rstrip(".") if level else "0"
        x = left + place * (right - left)
        axes.annotate(
            text,
            xy=(convergence.markers[level], heights[level]),
            xytext=(x, low + 0.95 * (high - low)),
            ha="center",
            va="center",
            fontsize=_SMALL,
            color=_VERMILION,
            arrowprops={
                "arrowstyle": "-",
                "color": _VERMILION,
                "linewidth": 0.4,
                "alpha": 0.7,
                "shrinkA": 0,
                "shrinkB": 2,
            },
            zorder=5,
        )


def _draw_cqi(axes: Axes, convergence: Convergence) -> None:
    threshold = convergence.config.threshold
    values: NDArray[np.float64] = convergence.cqi[1:]  # (E,)
    floor = threshold / 100
    drawn = np.maximum(values, floor)
    size = float(np.clip(120 / len(drawn), 0.0, 2.2))
    axes.set_yscale("log")
    axes.plot(
        np.arange(1, len(drawn) + 1), drawn, "-o", color=_INK, linewidth=0.9, markersize=size, label="CQI", zorder=4
    )
    axes.axhline(
        threshold, color=_VERMILION, linestyle=(0, (4, 2)), linewidth=0.9, label=f"threshold, {threshold:g}", zorder=3
    )
    low, high = max(floor, min(drawn.min(), threshold / 1.5)), max(drawn.max(), 1.5 * threshold)
    axes.set_ylim(low / (high / low) ** 0.07, high * (high / low) ** 0.28)  # room above for the text
    quantity = "drift" if convergence.signal == "drift" else "loss"
    axes.set_ylabel(f"CQI ({quantity} range\nper snapshot)", fontsize=_TEXT)
    left, right = axes.get_xlim()
    if convergence.point is None:
        place, text, align = 0.985, "not converged", "right"
    else:
        place, text = (convergence.point - left) / (right - left), f"T = {convergence.point}"
        align = "left" if place < 0.8 else "right"
        place += 0.015 if align == "left" else -0.015
    color = _INK if convergence.point is None else _GREEN
    axes.text(
        place, 0.97, text, transform=axes.transAxes, ha=align, va="top", fontsize=_TEXT, color=color, weight="bold"
    )


def _draw_epoch_axis(axes: Axes, snapshots: NDArray[np.int64], epochs: NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator

    if np.any(np.diff(epochs) <= 0):
        raise ConvergenceError(
            "epochs must increase from snapshot to snapshot; give the epoch at which each was taken."
        )
    ticks = MaxNLocator(integer=True, nbins=7).tick_values(epochs[0], epochs[-1])
    ticks = ticks[(ticks >= epochs[0]) & (ticks <= epochs[-1])]
    top = axes.secondary_xaxis("top")
    top.set_xticks(np.interp(ticks, epochs, snapshots), [f"{tick:g}" for tick in ticks])
    top.tick_params(labelsize=_SMALL, width=0.6, length=2.5)
    top.spines["top"].set_linewidth(0.6)
    top.set_xlabel("Epoch", fontsize=_TEXT)


def _spread(places: Sequence[float], gap: float) -> list[float]:
    """Increasing places in [0, 1] moved as little as keeps them ``gap`` apart and inside."""
    spread = list(places)
    for i in range(1, len(spread)):
        spread[i] = max(spread[i], spread[i - 1] + gap)
    limit = 1.0 - gap / 2
    for i in reversed(range(len(spread))):
        spread[i] = min(spread[i], limit)
        limit = spread[i] - gap
    return spread
