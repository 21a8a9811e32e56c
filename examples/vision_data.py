"""The data sets of the examples: CamVid's driving scenes with masks, BCCD's blood cells with boxes.

Both are small enough to be read and resized once, and kept in memory.
"""

from __future__ import annotations

import tarfile
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset
from torchvision import tv_tensors
from torchvision.datasets import VOCDetection
from torchvision.transforms.v2 import functional as F


@contextmanager
def opened(data: Path, name: str) -> Iterator[Path]:
    """The folder of a data set: ``data``, the folder ``name`` in it, or what an archive has that is or lies there."""
    with tempfile.TemporaryDirectory(prefix="examples-") as unpacked:
        archive = data if data.is_file() else next(iter(sorted(data.glob(f"{name}*.tar"))), None)
        if (data / name).is_dir():
            data = data / name
        elif archive is not None:
            with tarfile.open(archive) as members:
                members.extractall(unpacked, filter="data")
            data = Path(unpacked, name)
        yield data


def whole_numbers(_context: click.Context, _option: click.Parameter, text: str) -> list[int]:
    """Of an option, with commas between them."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(f"expected whole numbers with commas between them, got {text!r}") from None


class CamVid(Dataset[tuple[tv_tensors.Image, tv_tensors.Mask]]):
    """Images with masks of class indices: ``root/train``, ``val`` and ``test`` have ``images`` and ``masks``.

    Items are uint8: an image (3, height, width) and a mask (height, width), in which 11 is void.
    """

    classes = ("sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist")
    void = 11

    def __init__(self, root: Path, split: str, size: tuple[int, int], transforms: Any = None) -> None:
        self.transforms = transforms
        self.items = []
        for path in sorted((root / split / "images").iterdir()):
            image = tv_tensors.Image(Image.open(path).convert("RGB"))
            mask = tv_tensors.Mask(np.array(Image.open(root / split / "masks" / f"{path.stem}.png")))
            self.items.append((F.resize(image, list(size)), F.resize(mask, list(size))))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        image, mask = self.items[index]
        return self.transforms(image, mask) if self.transforms else (image, mask)


class Bccd(Dataset[tuple[tv_tensors.Image, dict[str, Any]]]):
    """Images with boxes, in the layout of PASCAL VOC: ``JPEGImages``, ``Annotations`` and ``ImageSets/Main``.

    Items are an image, uint8 (3, height, width), and a target as torchvision's detectors take it: ``boxes`` (n, 4) and
    ``labels`` (n,), which count from 1, for 0 is the background. Boxes without an area are left out.
    """

    classes = ("background", "RBC", "WBC", "Platelets")

    def __init__(self, root: Path, split: str, size: tuple[int, int], transforms: Any = None) -> None:
        self.transforms = transforms
        names = (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split()
        self.items = [self._read(root, name, size) for name in names]

    def _read(self, root: Path, name: str, size: tuple[int, int]) -> tuple[tv_tensors.Image, dict[str, Any]]:
        image = tv_tensors.Image(Image.open(root / "JPEGImages" / f"{name}.jpg").convert("RGB"))
        tree = ElementTree.parse(root / "Annotations" / f"{name}.xml")
        objects = VOCDetection.parse_voc_xml(tree.getroot())["annotation"].get("object", [])
        corners = [[float(one["bndbox"][key]) for key in ("xmin", "ymin", "xmax", "ymax")] for one in objects]
        labels = torch.tensor([self.classes.index(one["name"]) for one in objects], dtype=torch.int64)
        boxes = torch.tensor(corners).reshape(-1, 4)
        kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
        canvas = (image.shape[1], image.shape[2])
        found = tv_tensors.BoundingBoxes(boxes[kept], format="XYXY", canvas_size=canvas)
        return F.resize(image, list(size)), {"boxes": F.resize(found, list(size)), "labels": labels[kept]}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        image, target = self.items[index]
        return self.transforms(image, target) if self.transforms else (image, target)
