"""The feature drift of a training's modules as a figure of a paper's column: which settled first, which last."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fmce_mlflow.method.convergence.verdict import Convergence
from fmce_mlflow.report.style import BLUE, COLUMN_WIDTH, GREEN, SMALL, TEXT, VERMILION, framed, plain, thin
from fmce_mlflow.report.svg import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 12
"""Modules that are drawn; of more, the first."""
_COLORS = (BLUE, VERMILION, GREEN, "#CC79A7", "#E69F00", "#56B4E9")  # of Okabe and Ito, too
_STYLES = ("-", (0, (4, 2)))
_FLOOR = 1e-6  # below it drift is rounding


def drift_figure(drift: Mapping[str, Convergence], *, title: str) -> Figure:
    """Drift (1 − CKA) of each module over snapshots, with a dot where it settled.

    Args:
        drift: By module, what its drift says; the first :data:`MOST` are drawn.
        title: The line above it.

    Example:
        >>> from fmce_mlflow.method.convergence.verdict import assess
        >>> found = assess([0.5 * 0.8**t for t in range(20)], signal="drift")
        >>> figure = drift_figure({"neck": found}, title="digits")
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['neck, settled at 14']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(COLUMN_WIDTH, 2.6), dpi=300)
    axes = figure.subplots()
    thin(axes)
    axes.set_yscale("log")
    for place, (module, found) in enumerate(list(drift.items())[:MOST]):
        color, style = _COLORS[place % len(_COLORS)], _STYLES[place // len(_COLORS) % 2]
        values = np.clip(found.losses[1:], _FLOOR, None)  # snapshot 0 has no drift
        when = "not settled" if found.point is None else f"settled at {found.point}"
        axes.plot(
            np.arange(1, len(found.losses)), values, color=color, linestyle=style, linewidth=1.0,
            label=plain(f"{shortened(module, 40)}, {when}"), zorder=3,
        )  # fmt: skip
        if found.point:
            axes.plot(found.point, values[found.point - 1], "o", color=color, markersize=4.2, mec="white", zorder=4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
    axes.set_xlabel("Snapshot", fontsize=TEXT)
    axes.set_ylabel("Feature drift (1 − CKA)", fontsize=TEXT)
    left_out = f" (the first {MOST} of {len(drift)} modules)" if len(drift) > MOST else ""
    columns = 1 if len(drift) < 4 else 2
    figure.legend(loc="lower center", ncols=columns, fontsize=SMALL, frameon=False)
    title = plain(textwrap.fill(shortened(title, 300), 60)) + left_out
    framed(figure, title, above=0.06, beside=0.55, columns=columns)
    return figure
