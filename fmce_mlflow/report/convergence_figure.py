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
from fmce_mlflow.report.loss_curve import drawn_cqi, epoch_markers, extent, point_text
from fmce_mlflow.report.style import BLUE, COLUMN_WIDTH, GREEN, GREY, INK, SMALL, TEXT, VERMILION, framed, plain, thin
from fmce_mlflow.report.svg import shortened

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
    goes. The figure belongs to no window: save it with ``figure.savefig`` or ``mlflow.log_figure``.

    Args:
        convergence: What to draw.
        title: The line above it.
        epochs: The epoch of each snapshot, increasing, shape (E+1,); drawn as a second axis where snapshots are not
            epochs.
        other: The same run judged by another signal, drawn muted behind.
        unit: Unit of the loss; None for no unit. Feature drift never has one.

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
    from matplotlib.transforms import blended_transform_factory

    last, point = len(convergence.losses) - 1, convergence.point
    for name, given in (("epochs", epochs), ("other", None if other is None else other.losses)):
        if given is not None and len(given) != last + 1:
            raise ConvergenceError(
                f"{name} has {len(given)} values, but the run has {last + 1} snapshots; give one for each."
            )
    figure = Figure(figsize=(COLUMN_WIDTH, 3.7), dpi=300)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2], gridspec_kw={"hspace": 0.12})
    thin(upper)
    thin(lower)
    lower.set_xlim(-0.02 * last - 0.15, 1.02 * last + 0.15)
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    lower.set_xlabel("Snapshot", fontsize=TEXT)

    drift = convergence.signal == "drift"
    upper.set_ylabel("Feature drift (1 − CKA)" if drift else f"Loss ({unit})" if unit else "Loss", fontsize=TEXT)
    lower.set_ylabel(f"CQI ({'drift' if drift else 'loss'} range\nper snapshot)", fontsize=TEXT)
    _draw_losses(upper, convergence, other)
    _draw_markers(upper, convergence)
    _draw_cqi(lower, convergence)
    if point is not None:
        for axes, top in ((upper, _STRIP), (lower, 1.0)):
            axes.axvspan(point, axes.get_xlim()[1], color=GREEN, alpha=0.10, linewidth=0, zorder=0)
            axes.axvline(point, ymax=top, color=GREEN, linewidth=1.0, zorder=1.5)
    twice = epochs is not None and not np.array_equal(epochs, np.arange(last + 1))
    if twice:
        _draw_epoch_axis(upper, np.asarray(epochs, dtype=np.float64))

    legend = figure.legend(
        loc="lower center", ncols=2, fontsize=SMALL, frameon=False, handlelength=1.8, columnspacing=1.4
    )
    for line in legend.get_lines():
        line.set_markersize(3.2)
    title = plain(textwrap.fill(shortened(title, 300), 60))
    framed(figure, title, above=0.4 if twice else 0.06, beside=0.8, columns=2)
    for axes in (upper, lower):  # their labels in one line
        place = blended_transform_factory(figure.transFigure, axes.transAxes)
        axes.yaxis.set_label_coords(0.31 / COLUMN_WIDTH, 0.5, transform=place)
    return figure


def _draw_losses(axes: Axes, run: Convergence, other: Convergence | None) -> None:
    from matplotlib.patches import Rectangle

    snapshots, name = np.arange(len(run.losses)), SIGNAL_NAMES[run.signal]
    low, high = extent(run)
    size = float(np.clip(160 / len(snapshots), 1.8, 3.2))
    axes.plot(snapshots, run.losses, "o", color=BLUE, markersize=size, alpha=0.45, mew=0, label=name, zorder=3)
    axes.plot(snapshots, run.smoothed, "-", color=BLUE, linewidth=1.2, label=f"{name}, smoothed", zorder=4)
    if other is not None:
        label = SIGNAL_NAMES[other.signal]
        (least, top), limit = extent(other), high + 1.5 * (high - low)
        if top > limit:
            label += f" (cut, rises to {top:.2g})"
        (line,) = axes.plot(snapshots, other.losses, "--", color=GREY, linewidth=0.9, label=label, zorder=2)
        if run.point is not None:
            line.set_clip_path(Rectangle((0, 0), 1, _STRIP, transform=axes.transAxes))
        low, high = min(low, least), max(high, min(top, limit))
    span = (high - low) or 1.0
    axes.set_ylim(low - 0.06 * span, high + (0.06 if run.point is None else 0.24) * span)


def _draw_markers(axes: Axes, run: Convergence) -> None:
    """Diamonds on the run; their labels in the strip above it, moved apart where they are close."""
    markers = epoch_markers(run, most_labels=10)
    if not markers:
        return
    snapshots, heights, _ = zip(*markers, strict=True)
    axes.plot(
        snapshots, heights, "D", color=VERMILION, markersize=3.6, mec="white", mew=0.5,
        label="epoch marker with its FMCS", zorder=6,
    )  # fmt: skip
    left, right = axes.get_xlim()
    low, high = axes.get_ylim()
    labelled = [marker for marker in markers if marker.label]
    spots = _spread([(marker.snapshot - left) / (right - left) for marker in labelled], gap=0.085)
    leader = {
        "arrowstyle": "-", "color": VERMILION, "linewidth": 0.4, "alpha": 0.7, "shrinkA": 0, "shrinkB": 2,
    }  # fmt: skip
    for marker, spot in zip(labelled, spots, strict=True):
        axes.annotate(
            marker.label, (marker.snapshot, marker.loss), (left + spot * (right - left), low + 0.95 * (high - low)),
            ha="center", va="center", fontsize=SMALL, color=VERMILION, arrowprops=leader, zorder=5,
        )  # fmt: skip


def _draw_cqi(axes: Axes, run: Convergence) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    cqi, threshold = drawn_cqi(run), run.config.threshold
    least = most = threshold
    if cqi is not None:
        size = float(np.clip(120 / len(cqi), 0.0, 2.2))
        axes.plot(
            np.arange(1, len(cqi) + 1), cqi, "-o", color=INK, linewidth=0.9, markersize=size, label="CQI",
            zorder=4,
        )  # fmt: skip
        least, most = float(cqi.min()), float(cqi.max())
    axes.axhline(
        threshold, color=VERMILION, linestyle=(0, (4, 2)), linewidth=0.9,
        label=f"threshold, {threshold:g}", zorder=3,
    )  # fmt: skip
    low, high = min(least, threshold / 1.5), max(most, 1.5 * threshold)
    axes.set_ylim(low / (high / low) ** 0.07, high * (high / low) ** 0.28)  # room above for the text
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    place, align, color = 0.985, "right", INK
    if run.point is not None:
        left, right = axes.get_xlim()
        place, color = (run.point - left) / (right - left), GREEN
        align = "left" if place < 0.8 else "right"
        place += 0.015 if align == "left" else -0.015
    axes.text(
        place, 0.97, point_text(run), transform=axes.transAxes, ha=align, va="top", fontsize=TEXT, color=color,
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
