"""Many small pictures in one PNG file, as text in a page."""

from __future__ import annotations

import base64
import io
from functools import cache

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from fmce_mlflow.method.maps.bounds import FRAME

Bytes = NDArray[np.uint8]


def sprite(pictures: Bytes) -> Markup:
    """Pictures (R, F, h, w, 3), or of one channel (R, F, h, w), in R rows and F columns, as a data URI.

    Around each, pixels repeat its edge, so that no neighbour shines through where it is enlarged. One channel becomes
    viridis, from dark blue for 0 to yellow for 255.

    Example:
        >>> print(sprite(np.zeros((1, 2, 4, 4, 3), np.uint8))[:30])
        data:image/png;base64,iVBORw0K
    """
    grey = pictures.ndim == 4
    colours = pictures[..., None] if grey else pictures
    framed = np.pad(colours, [(0, 0)] * 2 + [(FRAME, FRAME)] * 2 + [(0, 0)], mode="edge")  # (R, F, h', w', c)
    rows, columns, height, width, depth = framed.shape
    sheet = framed.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, depth)
    image = Image.fromarray(sheet[..., 0] if grey else sheet)
    if grey:
        image.putpalette(_viridis())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return Markup(f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}")


@cache
def _viridis() -> bytes:
    """The 256 colours of viridis, red, green and blue after each other."""
    from matplotlib import colormaps  # takes long to import

    return bytes((colormaps["viridis"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
