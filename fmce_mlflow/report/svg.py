"""Charts of the HTML reports: inline SVG that takes its colours from the page's style sheet, for light, dark and print.

Each chart has a text alternative. Text in it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from fmce_mlflow.method.convergence.config import SIGNAL_NAMES
from fmce_mlflow.method.convergence.verdict import Convergence

WIDTH, NARROW = 360, 280  # user units of a chart and of one among several; the page shows about 1.2 pixels per unit
LEFT, RIGHT = 46, 10  # margins of the plots with axes
Floats = NDArray[np.float64]


def interval_chart(
    rows: Sequence[tuple[str, float, float, float, float | None]], *, mature: float, label: str
) -> Markup:
    """FMCS with its interval, a row per module, on a scale from 0 to 1.

    Args:
        rows: Per module its name, FMCS, lower and upper end, and the measured FMCS where known.
        mature: Marked by a line.
        label: The text alternative.

    Returns:
        SVG.

    Example:
        >>> "conv5" in interval_chart([("conv5", 0.6, 0.5, 0.7, None)], mature=0.9, label="FMCS")
        True
    """
    step, top = 30, 18
    bottom = top + step * len(rows)
    x = _scale(0, 1, 10, WIDTH - 10)
    parts = [
        *(_line(x(v), top, x(v), bottom, "grid") for v in (0, 0.25, 0.5, 0.75, 1)),
        _line(x(mature), top - 4, x(mature), bottom, "bar"),
        _text(x(mature), top - 7, f"mature, {mature:g}", "end" if mature > 0.5 else "start", "t-bar"),
        *(_text(x(v), bottom + 13, f"{v:g}", "middle", "t-tick") for v in (0, 0.25, 0.5, 0.75, 1)),
    ]
    for i, (name, fmcs, low, high, measured) in enumerate(rows):
        y = top + step * i + 20
        parts += [
            _text(x(0) + 2, y - 8, shortened(name, 46), "start", "t-name"),
            Markup('<rect class="fill-blue soft" x="{}" y="{}" width="{}" height="8" rx="2"/>').format(
                _n(x(low)), _n(y - 4), _n(max(x(high) - x(low), 1))
            ),
            Markup('<circle class="fill-blue" cx="{}" cy="{}" r="4"/>').format(_n(x(fmcs)), _n(y)),
        ]
        if measured is not None:
            parts.append(_diamond(x(measured), y, 4.5))
    return _svg(parts, bottom + 18, label)


def histogram_chart(values: ArrayLike, *, mark: float | None = None, label: str, quantity: str, count: str) -> Markup:
    """How many values fall into each twentieth of [0, 1].

    Args:
        values: In [0, 1]; NaN is left out.
        mark: A value to be marked by a line.
        label: The text alternative.
        quantity: What the values are; stands below.
        count: What they are counted in; stands above.

    Returns:
        SVG.
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    counts, edges = np.histogram(np.clip(given[np.isfinite(given)], 0, 1), bins=20, range=(0, 1))
    top, bottom = 20, 104
    x, most = _scale(0, 1, LEFT, NARROW - RIGHT), max(int(counts.max()), 1)
    y = _scale(0, most, bottom, top)
    parts = [
        _line(LEFT, bottom, NARROW - RIGHT, bottom, "axis"),
        _line(LEFT, y(most), NARROW - RIGHT, y(most), "grid"),
        _text(LEFT - 4, y(most) + 4, str(most), "end", "t-tick"),
        _text(LEFT - 4, bottom + 3, "0", "end", "t-tick"),
        _text(LEFT - 4, 10, count, "end", "t-tick"),
        *(_text(x(v), bottom + 13, f"{v:g}", "middle", "t-tick") for v in (0, 0.25, 0.5, 0.75, 1)),
        _text((LEFT + NARROW - RIGHT) / 2, bottom + 27, quantity, "middle", "t-tick"),
    ]
    for n, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if n:
            parts.append(
                Markup('<rect class="fill-blue" x="{}" y="{}" width="{}" height="{}"/>').format(
                    _n(x(low) + 0.5), _n(y(n)), _n(x(high) - x(low) - 1), _n(bottom - y(n))
                )
            )
    if mark is not None:
        parts += [
            _line(x(mark), top - 4, x(mark), bottom, "bar"),
            _text(x(mark), 10, f"{mark:.2f}", _anchor(mark), "t-bar"),
        ]
    return _svg(parts, bottom + 32, label, NARROW)


def levels_chart(levels: Sequence[float] | Floats, *, label: str) -> Markup:
    """Probability of each of the K levels, as columns.

    Args:
        levels: K probabilities.
        label: The text alternative.

    Returns:
        SVG.
    """
    top, bottom, count = 18, 104, len(levels)
    x = _scale(0, count, LEFT, NARROW - RIGHT)
    y = _scale(0, 1, bottom, top)
    parts = [_line(LEFT, bottom, NARROW - RIGHT, bottom, "axis")]
    every = math.ceil(count / 11)
    for k, share in enumerate(levels):
        width = x(1) - x(0)
        parts.append(
            Markup('<rect class="fill-blue" x="{}" y="{}" width="{}" height="{}"/>').format(
                _n(x(k) + 0.12 * width), _n(y(share)), _n(0.76 * width), _n(max(bottom - y(share), 0.5))
            )
        )
        if count <= 11:
            parts.append(_text(x(k + 0.5), y(share) - 4, f"{share:.0%}", "middle", "t-tick"))
        if k % every == 0:
            parts.append(_text(x(k + 0.5), bottom + 13, f"{k / max(1, count - 1):.3g}", "middle", "t-tick"))
    parts.append(_text((LEFT + NARROW - RIGHT) / 2, bottom + 27, "FMCS of the level", "middle", "t-tick"))
    return _svg(parts, bottom + 32, label, NARROW)


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
    losses, smoothed, last = convergence.losses, convergence.smoothed, len(convergence.losses) - 1
    width = NARROW if small else WIDTH
    top, bottom = (8, 84) if small else (34, 164)
    x = _scale(0, last, LEFT, width - RIGHT)
    low, high = min(losses.min(), smoothed.min()), max(losses.max(), smoothed.max())
    y = _scale(low, high if high > low else low + 1, bottom - 4, top + 4)
    end = bottom if small else bottom + 96
    parts: list[Markup] = []
    if convergence.point is not None:
        parts.append(
            Markup('<rect class="converged" x="{}" y="{}" width="{}" height="{}"/>').format(
                _n(x(convergence.point)), top, _n(max(x(last) - x(convergence.point), 1)), end - top
            )
        )
        parts.append(_line(x(convergence.point), top, x(convergence.point), end, "point"))
    parts += [_line(LEFT, bottom, width - RIGHT, bottom, "axis"), _line(LEFT, top, LEFT, bottom, "axis")]
    parts += [_text(LEFT - 4, y(v) + 4, f"{v:.2g}", "end", "t-tick") for v in sorted({float(low), float(high)})]
    if not small:
        parts += [
            Markup('<circle class="fill-blue soft" cx="{}" cy="{}" r="2.2"/>').format(_n(x(s)), _n(y(v)))
            for s, v in enumerate(losses)
        ]
        parts.append(_text(LEFT, 10, _quantity(convergence), "start", "t-tick"))
    parts.append(_path(x, y, np.arange(last + 1), smoothed, "line"))
    for level, snapshot in enumerate(convergence.markers or ()):
        parts.append(_diamond(x(snapshot), y(smoothed[snapshot]), 3.5 if small else 4.5))
        if not small and len(convergence.markers or ()) <= 6:
            score = f"{level / (len(convergence.markers or ()) - 1):.2f}".rstrip("0").rstrip(".") or "0"
            parts.append(_text(x(snapshot) + 5, y(smoothed[snapshot]) - 6, score, "start", "t-bar"))
    if here is not None and 0 <= here <= last and not small:
        parts.append(_line(x(here), top, x(here), end, "here"))
        parts.append(_text(x(here), end + 40, f"this model, snapshot {here}", _anchor(here / last), "t-name"))
    if small:
        parts += _snapshot_ticks(x, last, bottom)
        return _svg(parts, bottom + 18, label, width)
    parts += _cqi_panel(convergence, x, bottom + 20, end)
    parts += _snapshot_ticks(x, last, end)
    parts.append(_text((LEFT + width - RIGHT) / 2, end + 27, "snapshot", "middle", "t-tick"))
    if convergence.point is not None:
        side = _anchor(convergence.point / last)
        parts.append(_text(x(convergence.point), top - 6, f"T = {convergence.point}", side, "t-point"))
    return _svg(parts, end + (32 if here is None else 46), label)


def shortened(name: str, limit: int) -> str:
    """A long name without its middle.

    Example:
        >>> shortened("backbone.body.layer4.1.conv2", 15)
        'backbon…1.conv2'
    """
    if len(name) <= limit:
        return name
    keep = (limit - 1) // 2
    return f"{name[:keep]}…{name[-(limit - 1 - keep) :]}"


class _Scale:
    """A linear map from values to user units."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start = float(low), float(start)
        self.slope = (end - start) / (float(high) - float(low))

    def __call__(self, value: float) -> float:
        return self.start + (float(value) - self.low) * self.slope


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, high if high > low else low + 1, start, end)


def _cqi_panel(convergence: Convergence, x: _Scale, top: float, bottom: float) -> list[Markup]:
    threshold = convergence.config.threshold
    values = convergence.cqi[1:]
    if not np.isfinite(values).any():
        return []
    drawn = np.log10(np.clip(np.nan_to_num(values), threshold / 100, None))
    bar = math.log10(threshold)
    y = _scale(min(drawn.min(), bar - 0.2), max(drawn.max(), bar + 0.2), bottom - 3, top + 8)
    return [
        _line(LEFT, bottom, WIDTH - RIGHT, bottom, "axis"),
        _line(LEFT, top, LEFT, bottom, "axis"),
        _line(LEFT, y(bar), WIDTH - RIGHT, y(bar), "bar"),
        _text(LEFT - 4, y(bar) + 4, f"{threshold:g}", "end", "t-bar"),
        _path(x, y, np.arange(1, len(drawn) + 1), drawn, "ink"),
        _text(LEFT + 4, top + 4, "CQI, logarithmic", "start", "t-tick"),
    ]


def _quantity(convergence: Convergence) -> str:
    name = SIGNAL_NAMES[convergence.signal]
    return f"{name} (1 − CKA)" if convergence.signal == "drift" else name


def _snapshot_ticks(x: _Scale, last: int, y: float) -> list[Markup]:
    step = max(1, next((s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if last / s <= 8), last))
    return [_text(x(s), y + 13, str(s), "middle", "t-tick") for s in range(0, last + 1, step)]


def _anchor(place: float) -> str:
    return "start" if place < 0.15 else "end" if place > 0.85 else "middle"


def _n(value: float) -> str:
    return f"{float(value):.1f}".removesuffix(".0")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, _n(x1), _n(y1), _n(x2), _n(y2))


def _text(x: float, y: float, text: str, anchor: str, kind: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(kind, _n(x), _n(y), anchor, text)


def _diamond(x: float, y: float, size: float) -> Markup:
    corners = " ".join(f"{_n(a)},{_n(b)}" for a, b in ((x, y - size), (x + size, y), (x, y + size), (x - size, y)))
    return Markup('<polygon class="fill-vermilion" points="{}"/>').format(corners)


def _path(x: _Scale, y: _Scale, across: NDArray[np.int64], up: Floats, kind: str) -> Markup:
    points = " ".join(f"{_n(x(a))},{_n(y(b))}" for a, b in zip(across, up, strict=True))
    return Markup('<polyline class="{}" points="{}"/>').format(kind, points)


def _svg(parts: Sequence[Markup], height: float, label: str, width: int = WIDTH) -> Markup:
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}" class="chart">{}</svg>').format(
        label, width, _n(height), Markup("").join(parts)
    )
