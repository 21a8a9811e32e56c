"""The data sets of the examples, where their archives are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.helpers.examples import example

DATA = Path(os.environ.get("FMCE_TEST_DATA", "data"))


@pytest.fixture
def vision_data(monkeypatch):
    return example("vision_data", monkeypatch)


@pytest.mark.skipif(not list(DATA.glob("camvid*.tar")), reason="CamVid's archive is not in FMCE_TEST_DATA")
def test_camvid_is_read_from_its_archive(vision_data):
    with vision_data.opened(DATA, "camvid") as root:
        counts = [len(list((root / split / "masks").iterdir())) for split in ("train", "val", "test")]
        val = vision_data.CamVid(root, "val", (60, 80))
    assert counts == [367, 101, 233] and len(val) == 101
    image, mask = val[0]
    assert (image.shape, image.dtype, mask.shape) == ((3, 60, 80), torch.uint8, (60, 80))
    assert {value for _, mask in val.items for value in mask.unique().tolist()} == set(range(12))


@pytest.mark.skipif(not list(DATA.glob("bccd*.tar")), reason="BCCD's archive is not in FMCE_TEST_DATA")
def test_bccd_is_read_from_its_archive(vision_data):
    with vision_data.opened(next(DATA.glob("bccd*.tar")), "bccd") as root:
        names = {split: (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split() for split in SPLITS}
        test = vision_data.Bccd(root, "test", (120, 160))
    assert {split: len(found) for split, found in names.items()} == SPLITS
    image, target = test[0]
    assert image.shape == (3, 120, 160)
    for _, target in test.items:
        boxes = target["boxes"]
        assert len(boxes) == len(target["labels"]) > 0 and (boxes[:, 2:] > boxes[:, :2]).all()
        assert target["labels"].min() >= 1 and target["labels"].max() <= 3


SPLITS = {"train": 205, "val": 87, "test": 72}
