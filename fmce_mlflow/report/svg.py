"""Charts of the HTML reports: inline SVG that takes its colours from the page's style sheet, for light, dark and print.

Each chart has a text alternative. Text in it is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

WIDTH, NARROW = 360, 280  # user units of a chart and of one among several; the page shows about 1.2 pixels per unit
LEFT, RIGHT = 46, 10  # margins of the plots with axes
QUARTERS = (0, 0.25, 0.5, 0.75, 1)
Floats = NDArray[np.float64]


def interval_chart(
    rows: Sequence[tuple[str, float, float, float, float | None]], *, mature: float, label: str
) -> Markup:
    """FMCS on a scale from 0 to 1, a row per module: its name, FMCS, both ends, and the measured FMCS where known.

    Example:
        >>> "conv5" in interval_chart([("conv5", 0.6, 0.5, 0.7, None)], mature=0.9, label="FMCS")
        True
    """
    step, top = 30, 18
    bottom = top + step * len(rows)
    x = Scale(0, 1, 10, WIDTH - 10)
    parts = [
        *(line(x(v), top, x(v), bottom, "grid") for v in QUARTERS),
        line(x(mature), top - 4, x(mature), bottom, "bar"),
        text(x(mature), top - 7, f"mature, {mature:g}", "end" if mature > 0.5 else "start", "t-bar"),
        *_unit_ticks(x, bottom),
    ]
    for i, (name, fmcs, low, high, measured) in enumerate(rows):
        y = top + step * i + 20
        parts += [
            text(x(0) + 2, y - 8, shortened(name, 46), "start", "t-name"),
            box(x(low), y - 4, max(x(high) - x(low), 1), 8, "fill-blue soft"),
            dot(x(fmcs), y, 4, "fill-blue"),
        ]
        if measured is not None:
            parts.append(diamond(x(measured), y, 4.5))
    return drawing(parts, bottom + 18, label)


def histogram_chart(values: ArrayLike, *, mark: float | None = None, label: str, quantity: str, count: str) -> Markup:
    """How many values fall into each twentieth of [0, 1]; NaN is left out.

    ``quantity`` says below what the values are, ``count`` above what they are counted in; ``mark`` gets a line.
    """
    given = np.asarray(values, dtype=np.float64).ravel()
    counts, edges = np.histogram(np.clip(given[np.isfinite(given)], 0, 1), bins=20, range=(0, 1))
    top, bottom = 20, 104
    x, most = Scale(0, 1, LEFT, NARROW - RIGHT), max(int(counts.max()), 1)
    y = Scale(0, most, bottom, top)
    parts = [
        line(LEFT, bottom, NARROW - RIGHT, bottom, "axis"),
        line(LEFT, y(most), NARROW - RIGHT, y(most), "grid"),
        text(LEFT - 4, y(most) + 4, str(most), "end", "t-tick"),
        text(LEFT - 4, bottom + 3, "0", "end", "t-tick"),
        text(LEFT - 4, 10, count, "end", "t-tick"),
        *_unit_ticks(x, bottom),
        text((LEFT + NARROW - RIGHT) / 2, bottom + 27, quantity, "middle", "t-tick"),
    ]
    for n, low, high in zip(counts, edges[:-1], edges[1:], strict=True):
        if n:
            parts.append(box(x(low) + 0.5, y(n), x(high) - x(low) - 1, bottom - y(n), "fill-blue"))
    if mark is not None:
        parts.append(line(x(mark), top - 4, x(mark), bottom, "bar"))
        parts.append(text(x(mark), 10, f"{mark:.2f}", anchor(mark), "t-bar"))
    return drawing(parts, bottom + 32, label, NARROW)


def levels_chart(levels: Sequence[float] | Floats, *, label: str) -> Markup:
    """Probability of each of the K levels, as columns."""
    top, bottom, count = 18, 104, len(levels)
    x, y = Scale(0, count, RIGHT, NARROW - RIGHT), Scale(0, 1, bottom, top)
    width = x(1) - x(0)
    every = math.ceil(count / 11)
    parts = [line(RIGHT, bottom, NARROW - RIGHT, bottom, "axis")]
    for k, share in enumerate(levels):
        parts.append(box(x(k) + 0.12 * width, y(share), 0.76 * width, max(bottom - y(share), 0.5), "fill-blue"))
        if count <= 11:
            parts.append(text(x(k + 0.5), y(share) - 4, f"{share:.0%}", "middle", "t-tick"))
        if k % every == 0:
            parts.append(text(x(k + 0.5), bottom + 13, f"{k / max(1, count - 1):.3g}", "middle", "t-tick"))
    parts.append(text(NARROW / 2, bottom + 27, "FMCS of the level", "middle", "t-tick"))
    return drawing(parts, bottom + 32, label, NARROW)


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


class Scale:
    """A linear map from values to user units."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.start = float(low), float(start)
        self.slope = (end - start) / (float(high) - float(low) if high > low else 1.0)

    def __call__(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (float(value) - self.low) * self.slope


def anchor(place: float) -> str:
    """How text at a place in [0, 1] of the width is aligned, to stay inside."""
    return "start" if place < 0.15 else "end" if place > 0.85 else "middle"


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line; ``kind`` is its class in the style sheet, here and below."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *map(_n, (x1, y1, x2, y2)))


def box(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    """A rectangle."""
    shape = Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>')
    return shape.format(kind, *map(_n, (x, y, width, height)))


def dot(x: float, y: float, radius: float, kind: str) -> Markup:
    """A circle."""
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}"/>').format(kind, *map(_n, (x, y, radius)))


def text(x: float, y: float, words: str, align: str, kind: str) -> Markup:
    """A line of text."""
    shape = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
    return shape.format(kind, _n(x), _n(y), align, words)


def diamond(x: float, y: float, size: float) -> Markup:
    """An epoch marker, or a measured value."""
    corners = " ".join(f"{_n(a)},{_n(b)}" for a, b in ((x, y - size), (x + size, y), (x, y + size), (x - size, y)))
    return Markup('<polygon class="fill-vermilion" points="{}"/>').format(corners)


def path(x: Scale, y: Scale, across: NDArray[np.int64], up: Floats, kind: str) -> Markup:
    """A line through points."""
    points = " ".join(f"{_n(x(a))},{_n(y(b))}" for a, b in zip(across, up, strict=True))
    return Markup('<polyline class="{}" points="{}"/>').format(kind, points)


def drawing(parts: Sequence[Markup], height: float, label: str, width: int = WIDTH) -> Markup:
    """All parts as one image with a text alternative."""
    return Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}" class="chart">{}</svg>').format(
        label, width, _n(height), Markup("").join(parts)
    )


def _unit_ticks(x: Scale, bottom: float) -> list[Markup]:
    return [text(x(v), bottom + 13, f"{v:g}", "middle", "t-tick") for v in QUARTERS]


def _n(value: float) -> str:
    return f"{float(value):.1f}".removesuffix(".0")
