"""A run's losses, CQI and convergence point as inline SVG of a page."""

from __future__ import annotations

import math

import numpy as np
from markupsafe import Markup

from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.report import svg
from fmce_mlflow.report.loss_curve import drawn_cqi, epoch_markers, extent, point_text, quantity


def loss_chart(
    convergence: Convergence, *, label: str, here: int | None = None, cursor: int | None = None, small: bool = False
) -> Markup:
    """Loss over snapshots with markers and convergence point; below it, unless small, CQI with its threshold.

    ``label`` is the text alternative, ``here`` the snapshot that the model is; ``cursor`` is another, at a line that a
    script may move. A small chart is one of many: the smoothed loss alone, without words.
    """
    return _small_chart(convergence, label) if small else _large_chart(convergence, label, here, cursor)


def cursor_place(convergence: Convergence, snapshot: float) -> float:
    """Where the cursor of a large chart stands, in its units across; beyond the last snapshot, at the last."""
    last = len(convergence.losses) - 1
    return svg.Scale(0, last, svg.LEFT, svg.WIDTH - svg.RIGHT)(min(snapshot, last))


def _small_chart(run: Convergence, label: str) -> Markup:
    bottom = 84
    x, y, parts = _plot(run, top=8, bottom=bottom, end=bottom, width=svg.NARROW)
    parts += [svg.diamond(x(marker.snapshot), y(marker.loss), 3.5) for marker in epoch_markers(run, most_labels=6)]
    return svg.drawing(parts, bottom + 18, label, svg.NARROW)


def _large_chart(run: Convergence, label: str, here: int | None, cursor: int | None) -> Markup:
    top, bottom, end, last = 34, 164, 260, len(run.losses) - 1
    x, y, parts = _plot(run, top=top, bottom=bottom, end=end, width=svg.WIDTH)
    parts += [svg.dot(x(snapshot), y(loss), 2.2, "fill-blue soft") for snapshot, loss in enumerate(run.losses)]
    parts.append(svg.text(svg.LEFT, 10, quantity(run), "start", "t-tick"))
    if here is not None and 0 <= here <= last:
        align = svg.anchor(here / last)
        parts.append(svg.line(x(here), top, x(here), end, "here"))
        parts.append(svg.text(x(here), end + 40, f"this model, snapshot {here}", align, "t-name"))
    if cursor is not None:
        parts.append(svg.line(cursor_place(run, cursor), top, cursor_place(run, cursor), end, "here cursor"))
    for marker in epoch_markers(run, most_labels=6):
        parts.append(svg.diamond(x(marker.snapshot), y(marker.loss), 4.5))
        if marker.label:
            parts.append(svg.text(x(marker.snapshot) + 5, y(marker.loss) - 6, marker.label, "start", "t-bar"))
    parts += _cqi_panel(run, x, bottom + 20, end)
    parts.append(svg.text((svg.LEFT + svg.WIDTH - svg.RIGHT) / 2, end + 27, "snapshot", "middle", "t-tick"))
    if run.point is not None:
        parts.append(svg.text(x(run.point), top - 6, point_text(run), svg.anchor(run.point / last), "t-point"))
    return svg.drawing(parts, end + (32 if here is None else 46), label)


def _plot(
    run: Convergence, *, top: float, bottom: float, end: float, width: int
) -> tuple[svg.Scale, svg.Scale, list[Markup]]:
    """Scales of snapshots and losses; and the converged strip down to the end, axes, ticks and the smoothed loss."""
    last, right = len(run.losses) - 1, width - svg.RIGHT
    x, y = svg.Scale(0, last, svg.LEFT, right), svg.Scale(*extent(run), bottom - 4, top + 4)
    parts = []
    if run.point is not None:
        start = x(run.point)
        parts.append(svg.box(start, top, max(x(last) - start, 1), end - top, "converged"))
        parts.append(svg.line(start, top, start, end, "point"))
    parts += [svg.line(svg.LEFT, bottom, right, bottom, "axis"), svg.line(svg.LEFT, top, svg.LEFT, bottom, "axis")]
    for value in sorted({*extent(run)}):
        parts.append(svg.text(svg.LEFT - 4, y(value) + 4, f"{value:.2g}", "end", "t-tick"))
    step = next((s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if last / s <= 8), last)
    parts += [svg.text(x(s), end + 13, str(s), "middle", "t-tick") for s in range(0, last + 1, step)]
    parts.append(svg.path(x, y, np.arange(last + 1), run.smoothed, "line"))
    return x, y, parts


def _cqi_panel(run: Convergence, x: svg.Scale, top: float, bottom: float) -> list[Markup]:
    cqi = drawn_cqi(run)
    if cqi is None:
        return []
    drawn, bar = np.log10(cqi), math.log10(run.config.threshold)
    y = svg.Scale(min(drawn.min(), bar - 0.2), max(drawn.max(), bar + 0.2), bottom - 3, top + 8)
    return [
        svg.line(svg.LEFT, bottom, svg.WIDTH - svg.RIGHT, bottom, "axis"),
        svg.line(svg.LEFT, top, svg.LEFT, bottom, "axis"),
        svg.line(svg.LEFT, y(bar), svg.WIDTH - svg.RIGHT, y(bar), "bar"),
        svg.text(svg.LEFT - 4, y(bar) + 4, f"{run.config.threshold:g}", "end", "t-bar"),
        svg.path(x, y, np.arange(1, len(drawn) + 1), drawn, "ink"),
        svg.text(svg.LEFT + 4, top + 4, "CQI, logarithmic", "start", "t-tick"),
    ]
