"""A run's losses, CQI and convergence point as a figure of a paper's column.

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
from fmce_mlflow.report.loss_curve import LossCurve, loss_curve
from fmce_mlflow.report.style import BLUE, COLUMN_WIDTH, GREEN, GREY, INK, SMALL, TEXT, VERMILION, thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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

    curve = loss_curve(convergence, most_labels=10)
    for name, given in (("epochs", epochs), ("other", None if other is None else other.losses)):
        if given is not None and len(given) != len(curve.losses):
            raise ConvergenceError(
                f"{name} has {len(given)} values, but the run has {len(curve.losses)} snapshots; give one for each."
            )
    figure = Figure(figsize=(COLUMN_WIDTH, 3.7), dpi=300, layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    thin(upper)
    thin(lower)
    lower.set_xlim(-0.02 * curve.last - 0.15, 1.02 * curve.last + 0.15)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    lower.set_xlabel("Snapshot", fontsize=TEXT)

    drift = convergence.signal == "drift"
    upper.set_ylabel("Feature drift (1 − CKA)" if drift else f"Loss ({unit})" if unit else "Loss", fontsize=TEXT)
    lower.set_ylabel(f"CQI ({'drift' if drift else 'loss'} range\nper snapshot)", fontsize=TEXT)
    _draw_losses(upper, curve, other)
    _draw_markers(upper, curve)
    _draw_cqi(lower, curve)
    if curve.point is not None:
        for axes, top in ((upper, _STRIP), (lower, 1.0)):
            axes.axvspan(curve.point, axes.get_xlim()[1], color=GREEN, alpha=0.10, linewidth=0, zorder=0)
            axes.axvline(curve.point, ymax=top, color=GREEN, linewidth=1.0, zorder=1.5)
    if epochs is not None and not np.array_equal(epochs, np.arange(curve.last + 1)):
        _draw_epoch_axis(upper, np.asarray(epochs, dtype=np.float64))

    figure.suptitle(textwrap.fill(title, 60), fontsize=TEXT + 0.5, color=INK, parse_math=False)
    legend = figure.legend(
        loc="outside lower center", ncols=2, fontsize=SMALL, frameon=False, handlelength=1.8, columnspacing=1.4
    )
    for line in legend.get_lines():
        line.set_markersize(3.2)
    figure.align_ylabels()
    return figure


def _draw_losses(axes: Axes, curve: LossCurve, other: Convergence | None) -> None:
    from matplotlib.patches import Rectangle

    snapshots = np.arange(curve.last + 1)
    low, high = float(curve.losses.min()), float(curve.losses.max())
    size = float(np.clip(160 / len(snapshots), 1.8, 3.2))
    axes.plot(snapshots, curve.losses, "o", color=BLUE, markersize=size, alpha=0.45, mew=0, label=curve.name, zorder=3)
    axes.plot(snapshots, curve.smoothed, "-", color=BLUE, linewidth=1.2, label=f"{curve.name}, smoothed", zorder=4)
    if other is not None:
        label = SIGNAL_NAMES[other.signal]
        top, limit = float(other.losses.max()), high + 1.5 * (high - low)
        if top > limit:
            label += f" (cut, rises to {top:.2g})"
        (line,) = axes.plot(snapshots, other.losses, "--", color=GREY, linewidth=0.9, label=label, zorder=2)
        if curve.point is not None:
            line.set_clip_path(Rectangle((0, 0), 1, _STRIP, transform=axes.transAxes))
        low, high = min(low, float(other.losses.min())), max(high, min(top, limit))
    span = (high - low) or 1.0
    axes.set_ylim(low - 0.06 * span, high + (0.06 if curve.point is None else 0.24) * span)


def _draw_markers(axes: Axes, curve: LossCurve) -> None:
    """Diamonds on the curve; their labels in the strip above it, moved apart where they are close."""
    if not curve.markers:
        return
    places = [marker.snapshot for marker in curve.markers]
    heights = [marker.loss for marker in curve.markers]
    axes.plot(
        places, heights, "D", color=VERMILION, markersize=3.6, mec="white", mew=0.5,
        label="epoch marker with its FMCS", zorder=6,
    )  # fmt: skip
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    labelled = [marker for marker in curve.markers if marker.label]
    spots = _spread([(marker.snapshot - left) / (right - left) for marker in labelled], gap=0.085)
    leader = {
        "arrowstyle": "-", "color": VERMILION, "linewidth": 0.4, "alpha": 0.7, "shrinkA": 0, "shrinkB": 2,
    }  # fmt: skip
    for marker, spot in zip(labelled, spots, strict=True):
        axes.annotate(
            marker.label, (marker.snapshot, marker.loss), (left + spot * (right - left), low + 0.95 * (high - low)),
            ha="center", va="center", fontsize=SMALL, color=VERMILION, arrowprops=leader, zorder=5,
        )  # fmt: skip


def _draw_cqi(axes: Axes, curve: LossCurve) -> None:
    axes.set_yscale("log")
    least = most = curve.threshold
    if curve.cqi is not None:
        size = float(np.clip(120 / curve.last, 0.0, 2.2))
        axes.plot(
            np.arange(1, curve.last + 1), curve.cqi, "-o", color=INK, linewidth=0.9, markersize=size, label="CQI",
            zorder=4,
        )  # fmt: skip
        least, most = float(curve.cqi.min()), float(curve.cqi.max())
    axes.axhline(
        curve.threshold, color=VERMILION, linestyle=(0, (4, 2)), linewidth=0.9,
        label=f"threshold, {curve.threshold:g}", zorder=3,
    )  # fmt: skip
    low, high = min(least, curve.threshold / 1.5), max(most, 1.5 * curve.threshold)
    axes.set_ylim(low / (high / low) ** 0.07, high * (high / low) ** 0.28)  # room above for the text
    place, align, color = 0.985, "right", INK
    if curve.point is not None:
        left, right = axes.get_xlim()
        place, color = (curve.point - left) / (right - left), GREEN
        align = "left" if place < 0.8 else "right"
        place += 0.015 if align == "left" else -0.015
    axes.text(
        place, 0.97, curve.verdict, transform=axes.transAxes, ha=align, va="top", fontsize=TEXT, color=color,
        weight="bold",
    )  # fmt: skip


def _draw_epoch_axis(axes: Axes, epochs: NDArray[np.float64]) -> None:
    from matplotlib.ticker import MaxNLocator

    if np.any(np.diff(epochs) <= 0):
        raise ConvergenceError(
            "epochs must increase from snapshot to snapshot; give the epoch at which each was taken."
        )
    ticks = MaxNLocator(integer=True, nbins=7).tick_values(epochs[0], epochs[-1])
    ticks = ticks[(ticks >= epochs[0]) & (ticks <= epochs[-1])]
    top = axes.secondary_xaxis("top")
    top.set_xticks(np.interp(ticks, epochs, np.arange(len(epochs))), [f"{tick:g}" for tick in ticks])
    top.tick_params(labelsize=SMALL, width=0.6, length=2.5)
    top.spines["top"].set_linewidth(0.6)
    top.set_xlabel("Epoch", fontsize=TEXT)


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
