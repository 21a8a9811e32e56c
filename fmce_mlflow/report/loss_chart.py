"""A run's losses, CQI and convergence point as inline SVG of a page."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.report import svg
from fmce_mlflow.report.loss_curve import LossCurve, loss_curve


def loss_chart(convergence: Convergence, *, label: str, here: int | None = None, small: bool = False) -> Markup:
    """Loss over snapshots with markers and convergence point; below it, unless small, CQI with its threshold.

    Args:
        convergence: What to draw.
        label: The text alternative.
        here: The snapshot that the model is; marked where given.
        small: One of many: the smoothed loss alone, without words.

    Returns:
        SVG.
    """
    curve = loss_curve(convergence, most_labels=6)
    return _small_chart(curve, label) if small else _large_chart(curve, label, here)


def _small_chart(curve: LossCurve, label: str) -> Markup:
    top, bottom = 8, 84
    x, y = svg.Scale(0, curve.last, svg.LEFT, svg.NARROW - svg.RIGHT), _loss_scale(curve, top, bottom)
    parts = [
        *_converged(curve, x, top, bottom),
        *_axes(curve, y, top, bottom, svg.NARROW),
        svg.path(x, y, np.arange(curve.last + 1), curve.smoothed, "line"),
        *(svg.diamond(x(marker.snapshot), y(marker.loss), 3.5) for marker in curve.markers),
        *_snapshot_ticks(x, curve.last, bottom),
    ]
    return svg.drawing(parts, bottom + 18, label, svg.NARROW)


def _large_chart(curve: LossCurve, label: str, here: int | None) -> Markup:
    top, bottom, end = 34, 164, 260
    x, y = svg.Scale(0, curve.last, svg.LEFT, svg.WIDTH - svg.RIGHT), _loss_scale(curve, top, bottom)
    parts = [
        *_converged(curve, x, top, end),
        *_axes(curve, y, top, bottom, svg.WIDTH),
        *(svg.dot(x(snapshot), y(loss), 2.2, "fill-blue soft") for snapshot, loss in enumerate(curve.losses)),
        svg.text(svg.LEFT, 10, curve.quantity, "start", "t-tick"),
        svg.path(x, y, np.arange(curve.last + 1), curve.smoothed, "line"),
    ]
    if here is not None and 0 <= here <= curve.last:
        parts.append(svg.line(x(here), top, x(here), end, "here"))
        align = svg.anchor(here / curve.last)
        parts.append(svg.text(x(here), end + 40, f"this model, snapshot {here}", align, "t-name"))
    for marker in curve.markers:
        parts.append(svg.diamond(x(marker.snapshot), y(marker.loss), 4.5))
        if marker.label:
            parts.append(svg.text(x(marker.snapshot) + 5, y(marker.loss) - 6, marker.label, "start", "t-bar"))
    parts += _cqi_panel(curve, x, bottom + 20, end)
    parts += _snapshot_ticks(x, curve.last, end)
    parts.append(svg.text((svg.LEFT + svg.WIDTH - svg.RIGHT) / 2, end + 27, "snapshot", "middle", "t-tick"))
    if curve.point is not None:
        parts.append(svg.text(x(curve.point), top - 6, curve.verdict, svg.anchor(curve.point / curve.last), "t-point"))
    return svg.drawing(parts, end + (32 if here is None else 46), label)


def _loss_scale(curve: LossCurve, top: float, bottom: float) -> svg.Scale:
    return svg.Scale(*curve.extent, bottom - 4, top + 4)


def _axes(curve: LossCurve, y: svg.Scale, top: float, bottom: float, width: int) -> list[Markup]:
    """Both axes, with the least and the greatest loss."""
    return [
        svg.line(svg.LEFT, bottom, width - svg.RIGHT, bottom, "axis"),
        svg.line(svg.LEFT, top, svg.LEFT, bottom, "axis"),
        *(svg.text(svg.LEFT - 4, y(value) + 4, f"{value:.2g}", "end", "t-tick") for value in sorted({*curve.extent})),
    ]


def _converged(curve: LossCurve, x: svg.Scale, top: float, end: float) -> list[Markup]:
    """The strip from the convergence point on."""
    if curve.point is None:
        return []
    start = x(curve.point)
    return [
        svg.box(start, top, max(x(curve.last) - start, 1), end - top, "converged"),
        svg.line(start, top, start, end, "point"),
    ]


def _cqi_panel(curve: LossCurve, x: svg.Scale, top: float, bottom: float) -> list[Markup]:
    if curve.cqi is None:
        return []
    drawn, bar = np.log10(curve.cqi), math.log10(curve.threshold)
    y = svg.Scale(min(drawn.min(), bar - 0.2), max(drawn.max(), bar + 0.2), bottom - 3, top + 8)
    return [
        svg.line(svg.LEFT, bottom, svg.WIDTH - svg.RIGHT, bottom, "axis"),
        svg.line(svg.LEFT, top, svg.LEFT, bottom, "axis"),
        svg.line(svg.LEFT, y(bar), svg.WIDTH - svg.RIGHT, y(bar), "bar"),
        svg.text(svg.LEFT - 4, y(bar) + 4, f"{curve.threshold:g}", "end", "t-bar"),
        svg.path(x, y, np.arange(1, len(drawn) + 1), drawn, "ink"),
        svg.text(svg.LEFT + 4, top + 4, "CQI, logarithmic", "start", "t-tick"),
    ]


def _snapshot_ticks(x: svg.Scale, last: int, y: float) -> list[Markup]:
    step = max(1, next((s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if last / s <= 8), last))
    return [svg.text(x(s), y + 13, str(s), "middle", "t-tick") for s in range(0, last + 1, step)]
