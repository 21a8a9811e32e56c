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
_SIDE, _COLUMN, _BELOW, _LEFT, _LINE = 0.82, 0.9, 0.2, 0.34, 0.115  # inches
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
        >>> len(figure.axes[0].images)
        4
    """
    shown = spread(list(saliency))
    rows, title = 1 + len(shown), textwrap.fill(shortened(title, MOST_TITLE), 70)
    sheet = _Sheet(images, len(images), rows, head=_LINE + 0.04, title=title, block=rows)
    for column, (image, label) in enumerate(zip(images, labels, strict=True)):
        sheet.head(column, 0, _cut(label))
        sheet.picture(column, 0, image)
        for row, name in enumerate(shown, start=1):
            sheet.attention(column, row, image, saliency[name][column])
    for row, name in enumerate(["image", *shown]):
        sheet.name(row, shortened(name, 16), upright=True)
    return sheet.figure


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
        >>> 'snapshot 0\nFMCS 0\nmean focus 0.00' in [text.get_text() for text in figure.axes[0].texts]
        True
    """
    shown = list(saliency)[:_MOST_MODULES]
    n = min(len(images), max(2, _MOST_ROWS // max(1, len(shown))))
    columns = max((list(maps) for maps in saliency.values()), key=len, default=[])
    width, upright = 1 + len(columns), max(map(len, labels), default=0) > 3
    title = textwrap.fill(shortened(title, MOST_TITLE), 16 * width)
    sheet = _Sheet(images, width, n * len(shown), head=3 * _LINE + 0.08, title=title, block=n)
    for block, module in enumerate(shown):
        first = block * n
        for row in range(n):
            sheet.name(first + row, _cut(labels[row]), upright=upright)
            sheet.picture(0, first + row, images[row])
            for column, snapshot in enumerate(columns, start=1):
                sheet.attention(column, first + row, images[row], saliency[module][snapshot][row])
        for column, snapshot in enumerate(columns, start=1):
            score = fmcs.get(snapshot)
            lines = [f"snapshot {snapshot}", *([] if score is None else [f"FMCS {score:.3g}"])]
            lines.append(f"mean focus {focus(saliency[module][snapshot]).mean():.2f}")
            sheet.head(column, first, "\n".join(lines))
        sheet.head(0, first, textwrap.fill(shortened(module, 40), 14), weight="bold")
    return sheet.figure


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


class _Sheet:
    """Pictures in columns and rows, with texts around them, in inches on one axes: one for each picture takes long.

    Rows come in blocks, with room for a heading over each.
    """

    def __init__(
        self, images: NDArray[np.uint8], columns: int, rows: int, *, head: float, title: str, block: int
    ) -> None:
        from matplotlib.figure import Figure

        self.height, self.width = _SIDE * np.array(images.shape[1:3]) / max(images.shape[1:3])
        self.head_room, self.block = head, block
        self.top = 0.08 + 0.16 * (1 + title.count("\n"))
        width, height = _LEFT + columns * _COLUMN, self._corner(0, rows - 1)[1] + self.height + _BELOW
        self.figure = Figure(figsize=(width, height), dpi=200)
        self.axes = self.figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), autoscale_on=False)
        self.axes.set_axis_off()
        self._text(width / 2, 0.06, title, va="top", fontsize=TEXT)

    def _corner(self, column: int, row: int) -> tuple[float, float]:
        """The upper left one of a picture."""
        x = _LEFT + column * _COLUMN + (_SIDE - self.width) / 2
        return x, self.top + row * (self.height + _BELOW) + self.head_room * (1 + row // self.block)

    def _text(self, x: float, y: float, text: str, **more: Any) -> None:
        self.axes.text(x, y, plain(text), **{"ha": "center", "fontsize": SMALL, "linespacing": 1.15, **more})

    def head(self, column: int, row: int, text: str, **more: Any) -> None:
        """A text over a picture."""
        x, y = self._corner(column, row)
        self._text(x + self.width / 2, y - 0.04, text, va="bottom", **more)

    def name(self, row: int, text: str, *, upright: bool) -> None:
        """A text left of a row."""
        x, y = self._corner(0, row)
        self._text(x - 0.14, y + self.height / 2, text, va="center", rotation=90 if upright else 0)

    def picture(self, column: int, row: int, image: NDArray[Any]) -> None:
        """An image (H, W, 3)."""
        x, y = self._corner(column, row)
        self.axes.imshow(image, extent=(x, x + self.width, y + self.height, y), aspect="auto")

    def attention(self, column: int, row: int, image: NDArray[np.uint8], saliency: NDArray[np.float32]) -> None:
        """Grad-CAM (H, W) over the image in grey, its focus below."""
        from matplotlib import colormaps

        grey = image.mean(2, keepdims=True) / 255
        self.picture(column, row, 0.4 * grey + 0.6 * colormaps["magma"](saliency)[..., :3])
        x, y = self._corner(column, row)
        text = f"focus {focus(saliency[None])[0]:.2f}" if saliency.any() else "nothing"
        self._text(x + self.width / 2, y + self.height + 0.03, text, va="top")
