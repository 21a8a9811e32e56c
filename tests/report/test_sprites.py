from __future__ import annotations

import base64
import io

import numpy as np
from matplotlib import colormaps
from PIL import Image

from fmce_mlflow.report.sprites import sprite


def decoded(uri):
    head, _, data = uri.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_stand_in_rows_and_columns_with_their_edges_repeated():
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 5, 3), dtype=np.uint8)
    sheet = np.asarray(decoded(sprite(pictures)))
    assert sheet.shape == (2 * 6, 3 * 7, 3)
    for row in range(2):
        for column in range(3):
            part = sheet[row * 6 : row * 6 + 6, column * 7 : column * 7 + 7]
            assert (part[1:-1, 1:-1] == pictures[row, column]).all()
            assert (part[0] == part[1]).all() and (part[:, -1] == part[:, -2]).all()


def test_one_channel_is_viridis():
    values = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    image = decoded(sprite(values))
    assert image.mode == "P"
    shown = np.asarray(image.convert("RGB"))[1:-1, 1:-1].reshape(-1, 3)
    expected = (colormaps["viridis"](np.arange(256))[:, :3] * 255).round()
    assert (shown == expected).all()
