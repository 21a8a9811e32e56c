"""What all figures of matplotlib have in common: colours, sizes of text, thin axes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fmce_mlflow.wording import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinguishable with any colour vision; line styles and marker shapes differ too.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
GREY, INK = "#8A8A8A", "#222222"
TEXT, SMALL = 7.5, 6.5  # points
COLUMN_WIDTH = 3.5  # inches, of a two-column paper


def png(figure: Figure, *, dpi: float) -> bytes:
    """A figure as a PNG file, byte for byte what ``figure.savefig`` writes, which draws it twice."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    file = io.BytesIO()
    figure.set_dpi(dpi)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file)
    return file.getvalue()


def plain(name: str) -> str:
    """A text from outside as matplotlib draws it as it is: with no formula between two `$`.

    Example:
        >>> print(plain("$5_^"))
        \\$5_^
    """
    return printable(name).replace("$", r"\$")


def framed(figure: Figure, title: str, *, above: float, beside: float, columns: int) -> None:
    """A title, and room around the axes, in inches: for what is above and beside them, a label and the legend below.

    matplotlib's own layout lays all texts out several times, which takes longer than to draw them.
    """
    width, height = figure.get_size_inches()
    figure.suptitle(title, y=1 - 0.05 / height, va="top", fontsize=TEXT + 0.5, color=INK)
    above += 0.07 + 0.135 * (1 + title.count("\n"))
    below = 0.44 + sum(0.139 * -(-len(legend.get_texts()) // columns) for legend in figure.legends)
    figure.subplots_adjust(left=beside / width, right=1 - 0.06 / width, top=1 - above / height, bottom=below / height)


def thin(axes: Axes) -> None:
    """Axes with thin lines and small ticks, without a frame."""
    axes.tick_params(which="both", labelsize=SMALL, width=0.6, length=2.5)
    axes.tick_params(which="minor", width=0.4, length=1.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_linewidth(0.6)
