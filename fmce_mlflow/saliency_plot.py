"""A panel of images with Grad-CAM over them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.method.saliency import focus

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SMALL, _TEXT = 6.5, 7.5


def saliency_figure(
    images: NDArray[np.uint8], saliency: Mapping[str, NDArray[np.float32]], labels: list[str], *, title: str
) -> Figure:
    """Images in columns; below each, Grad-CAM by row, with its focus.

    Args:
        images: uint8 (n, H, W, 3).
        saliency: Per row, its name and maps in [0, 1], float32 (n, H, W).
        labels: Stand above the images, n of them.
        title: Stands above all.

    Returns:
        A figure.

    Example:
        >>> figure = saliency_figure(
        ...     np.zeros((2, 8, 8, 3), np.uint8), {"conv5": np.ones((2, 8, 8), np.float32)}, ["0", "1"], title="digits"
        ... )
        >>> len(figure.axes)
        4
    """
    from matplotlib.figure import Figure

    n, rows = len(images), 1 + len(saliency)
    figure = Figure(figsize=(0.9 * n + 0.6, 1.02 * rows + 0.35), dpi=200, layout="constrained")
    grid: Any = figure.subplots(rows, n, squeeze=False)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    for column, (image, label) in enumerate(zip(images, labels, strict=True)):
        grid[0, column].imshow(image)
        grid[0, column].set_title(label, fontsize=_SMALL, pad=2)
        for row, maps in enumerate(saliency.values(), start=1):
            axes = grid[row, column]
            axes.imshow(image.mean(2), cmap="gray", vmin=0, vmax=255)
            axes.imshow(maps[column], cmap="magma", vmin=0, vmax=1, alpha=0.6)
            axes.set_xlabel(f"focus {focus(maps[column : column + 1])[0]:.2f}", fontsize=_SMALL, labelpad=2)
    for row, name in enumerate(["image", *saliency]):
        grid[row, 0].set_ylabel(name, fontsize=_SMALL)
    figure.suptitle(textwrap.fill(title, 70), fontsize=_TEXT)
    return figure
