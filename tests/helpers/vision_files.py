"""A few generated images in the layouts of CamVid, BCCD, KITTI and nuScenes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

VOC = """<annotation>
  <filename>{name}.jpg</filename>
  <size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>
  {objects}
</annotation>
"""
OBJECT = (
    "<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
    "<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
)
KITTI_SIZES = (124, 37), (122, 37), (124, 38)
"""A tenth of three of its sizes."""
CAMERAS = "CAM_FRONT", "CAM_BACK_LEFT"


def photos(n: int, size: tuple[int, int], seed: int = 0) -> Iterator[tuple[Image.Image, tuple[int, int, int, int]]]:
    """Noise, each with a bright rectangle, and where that is."""
    random = np.random.default_rng(seed)
    for _ in range(n):
        image = Image.fromarray(random.integers(0, 80, (size[1], size[0], 3), dtype=np.uint8))
        x, y = int(random.integers(0, size[0] // 2)), int(random.integers(0, size[1] // 2))
        box = (x, y, x + size[0] // 3, y + size[1] // 3)
        ImageDraw.Draw(image).rectangle(box, fill=(230, 60, 60))
        yield image, box


def write_camvid(root: Path, *, each: int = 4, size: tuple[int, int] = (48, 32)) -> Path:
    """Images and masks; the rectangle is a car (8) on a road (3), and the last row of pixels is void (11)."""
    for seed, split in enumerate(("train", "val", "test")):
        for part in ("images", "masks"):
            (root / split / part).mkdir(parents=True)
        for i, (image, box) in enumerate(photos(each, size, seed)):
            mask = Image.new("L", size, 3)
            ImageDraw.Draw(mask).rectangle(box, fill=8)
            ImageDraw.Draw(mask).line((0, size[1] - 1, size[0], size[1] - 1), fill=11)
            image.save(root / split / "images" / f"{i:03d}.jpg")
            mask.save(root / split / "masks" / f"{i:03d}.png")
    return root


def write_bccd(root: Path, *, each: int = 4, size: tuple[int, int] = (64, 64)) -> Path:
    """Images with one box, an image without any, and boxes without an area, as BCCD itself has them."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / part).mkdir(parents=True)
    for seed, split in enumerate(("train", "val", "test")):
        names = [f"{split}_{i:05d}" for i in range(each)]
        for i, (name, (image, box)) in enumerate(zip(names, photos(each, size, seed), strict=True)):
            image.save(root / "JPEGImages" / f"{name}.jpg")
            objects = OBJECT.format(name="WBC", box=box) + OBJECT.format(name="RBC", box=(5, 5, 5, 9))
            text = VOC.format(name=name, size=size, objects="" if i == 1 else objects)
            (root / "Annotations" / f"{name}.xml").write_text(text)
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


def write_kitti(root: Path) -> Path:
    """Images of several sizes with labels, where ``torchvision.datasets.Kitti`` looks for them."""
    folder = root / "Kitti" / "raw" / "training"
    for part in ("image_2", "label_2"):
        (folder / part).mkdir(parents=True)
    for i, size in enumerate(KITTI_SIZES):
        ((image, box),) = photos(1, size, i)
        image.save(folder / "image_2" / f"{i:06d}.png")
        numbers = " ".join(f"{x:.2f}" for x in box)
        line = f"Car 0.00 0 -1.57 {numbers} 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n"
        (folder / "label_2" / f"{i:06d}.txt").write_text(line)
    return root


def write_nuscenes(root: Path, *, each: int = 3, size: tuple[int, int] = (64, 36)) -> Path:
    """``samples/CAMERA/*.jpg``, with a lidar's folder beside the cameras'."""
    for seed, camera in enumerate(CAMERAS):
        (root / "samples" / camera).mkdir(parents=True)
        for i, (image, _) in enumerate(photos(each, size, seed)):
            image.save(root / "samples" / camera / f"n015-2018-07-24__{camera}__{i:016d}.jpg")
    (root / "samples" / "LIDAR_TOP").mkdir()
    (root / "samples" / "LIDAR_TOP" / "n015-2018-07-24__LIDAR_TOP__0.pcd.bin").write_bytes(b"\0" * 20)
    (root / "v1.0-mini").mkdir()
    (root / "v1.0-mini" / "sample_data.json").write_text("[]")
    return root
