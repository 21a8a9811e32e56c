"""Rows of data for the table of forms: what people have, made of the same eight images of noise."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
LABELS = [0, 1, 2, 3, 4, 0, 1, 2]


class Items(torch.utils.data.Dataset[Any]):
    """A torch dataset whose items a function makes of an image and its place."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, i: int) -> Any:
        return self.make(i)


def encoded(i: int, kind: str) -> bytes:
    """An image as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(PIXELS[i]).save(file, kind)
    return file.getvalue()


def files(write: Callable[[Path], None]) -> str:
    """A folder that a function fills; it is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="forms-")
    _KEPT.append(folder)
    write(Path(folder.name))
    return folder.name


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def class_folders(root: Path) -> None:
    """Images in class folders, with what a Mac leaves and a link upwards."""
    for i, label in enumerate(LABELS):
        (root / f"class {label}").mkdir(exist_ok=True)
        Image.fromarray(PIXELS[i]).save(root / f"class {label}" / f"{i}.png")
    (root / "__MACOSX").mkdir()
    (root / "class 0" / "._0.png").write_bytes(b"Mac OS X")
    (root / "class 0" / "up").symlink_to(root)


def tiffs(dtype: Any) -> Callable[[Path], None]:
    """A function that writes gray TIFFs of such numbers, some negative."""

    def write(root: Path) -> None:
        for i, image in enumerate(PIXELS):
            Image.fromarray(image[..., 0].astype(dtype) - 100).save(root / f"{i}.tiff")

    return write
