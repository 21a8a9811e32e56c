"""Panels of images with Grad-CAM over them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.method.saliency.grad_cam import focus
from fmce_mlflow.report.style import SMALL, TEXT, plain
from fmce_mlflow.report.svg import shortened

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_MODULES, _MOST_ROWS = 6, 12
MOST_TITLE = 300  # characters
T = TypeVar("T")


def saliency_figure(
    images: NDArray[np.uint8], saliency: Mapping[str, NDArray[np.float32]], labels: list[str], *, title: str
) -> Figure:
    """Images (n, H, W, 3) in columns, labels above; below each, Grad-CAM (n, H, W) in [0, 1] by row, with its focus.

    Of more than 12 modules, 12 are shown: the first, the last, and others between them.

    Example:
        >>> figure = saliency_figure(
        ...     np.zeros((2, 8, 8, 3), np.uint8), {"conv5": np.ones((2, 8, 8), np.float32)}, ["0", "1"], title="digits"
        ... )
        >>> len(figure.axes)
        4
    """
    from matplotlib.figure import Figure

    shown = spread(list(saliency))
    n, rows = len(images), 1 + len(shown)
    figure = Figure(figsize=(0.9 * n + 0.6, 1.02 * rows + 0.35), dpi=200, layout="constrained")
    grid: Any = figure.subplots(rows, n, squeeze=False)
    _bare(grid)
    for column, (image, label) in enumerate(zip(images, labels, strict=True)):
        grid[0, column].imshow(image)
        grid[0, column].set_title(plain(_cut(label)), fontsize=SMALL, pad=2)
        for row, name in enumerate(shown, start=1):
            _draw(grid[row, column], image, saliency[name][column])
    for row, name in enumerate(["image", *shown]):
        grid[row, 0].set_ylabel(plain(shortened(name, 16)), fontsize=SMALL)
    figure.suptitle(plain(textwrap.fill(shortened(title, MOST_TITLE), 70)), fontsize=TEXT)
    return figure


def history_figure(
    images: NDArray[np.uint8],
    saliency: Mapping[str, Mapping[int, NDArray[np.float32]]],
    labels: Sequence[str],
    *,
    fmcs: Mapping[int, float | None],
    title: str,
) -> Figure:
    r"""How attention tightens: images (n, H, W, 3) in rows, snapshots in columns, a block of rows per module.

    ``saliency`` has by module and snapshot maps in [0, 1], float32 (n, H, W). Above each column stand its snapshot, its
    FMCS where there is one, and the mean focus over all images; below each image its own focus, or that nothing in it
    speaks for its class. Of many modules the first 6 are shown, and then fewer images of each.

    Example:
        >>> maps = np.ones((2, 8, 8), np.float32)
        >>> figure = history_figure(
        ...     np.zeros((2, 8, 8, 3), np.uint8), {"conv5": {0: maps, 4: maps}}, ["0", "1"], fmcs={0: 0.0, 4: 1.0},
        ...     title="digits",
        ... )
        >>> figure.axes[1].get_title()
        'snapshot 0\nFMCS 0\nmean focus 0.00'
    """
    from matplotlib.figure import Figure

    shown = list(saliency)[:_MOST_MODULES]
    n = min(len(images), max(2, _MOST_ROWS // max(1, len(shown))))
    columns = max((list(maps) for maps in saliency.values()), key=len, default=[])
    width, height, longest = 1 + len(columns), n * len(shown), max(map(len, labels), default=0)
    figure = Figure(
        figsize=(0.92 * width + 0.3, 1.04 * height + 0.62 * len(shown) + 0.3), dpi=200, layout="constrained"
    )
    blocks: Any = figure.subfigures(len(shown), 1, squeeze=False)
    for block, module in zip(blocks[:, 0], shown, strict=True):
        grid: Any = block.subplots(n, width, squeeze=False)
        _bare(grid)
        for row in range(n):
            grid[row, 0].imshow(images[row])
            text = plain(_cut(labels[row]))
            grid[row, 0].set_ylabel(text, fontsize=SMALL, rotation=90 if longest > 3 else 0, va="center", labelpad=6)
            for column, snapshot in enumerate(columns, start=1):
                _draw(grid[row, column], images[row], saliency[module][snapshot][row])
        for column, snapshot in enumerate(columns, start=1):
            score = fmcs.get(snapshot)
            lines = [f"snapshot {snapshot}", *([] if score is None else [f"FMCS {score:.3g}"])]
            lines.append(f"mean focus {focus(saliency[module][snapshot]).mean():.2f}")
            grid[0, column].set_title("\n".join(lines), fontsize=SMALL, pad=3, linespacing=1.15)
        grid[0, 0].set_title(plain(shortened(module, 18)), fontsize=SMALL, pad=3, weight="bold")
    figure.suptitle(plain(textwrap.fill(shortened(title, MOST_TITLE), 16 * width)), fontsize=TEXT)
    return figure


def spread(values: Sequence[T], most: int = _MOST_ROWS) -> list[T]:
    """At most so many of some values: the first, the last, and others between them.

    Example:
        >>> spread("abcdefg", 3)
        ['a', 'd', 'g']
    """
    return [values[i] for i in np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))]


def _cut(label: str) -> str:
    """A label in a line of a few characters."""
    return shortened(" ".join(label[:1000].split()), 14)


def _bare(grid: Any) -> None:
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)


def _draw(axes: Any, image: NDArray[np.uint8], saliency: NDArray[np.float32]) -> None:
    """Grad-CAM over the image in grey, its focus below."""
    axes.imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
    axes.imshow(saliency, cmap="magma", vmin=0, vmax=1, alpha=0.6)
    text = f"focus {focus(saliency[None])[0]:.2f}" if saliency.any() else "nothing"
    axes.set_xlabel(text, fontsize=SMALL, labelpad=2)
