"""Torch datasets as people have them: items that are dicts, targets that are no classes."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from fmce_mlflow.errors import DataError
from fmce_mlflow.image_dataset.plugin import from_images
from fmce_mlflow.method.images.inputs import image_inputs

PIXELS = np.random.default_rng(3).integers(0, 256, (6, 10, 8, 3), dtype=np.uint8)
FIRST = torch.from_numpy(PIXELS).permute(0, 3, 1, 2)
LABELS = [2, 0, 1, 1, 0, 2]


class Made(torch.utils.data.Dataset):
    """Items that a function makes of an image's place."""

    def __init__(self, make, **more: Any) -> None:
        self.make = make
        self.__dict__.update(more)

    def __len__(self) -> int:
        return len(PIXELS)

    def __getitem__(self, i: int) -> Any:
        return self.make(i)


Sample = collections.namedtuple("Sample", "picture label")
NAMES = collections.namedtuple("ClassLabel", "names")(["ape", "cat", "dog"])
WITH_LABELS = {
    "pair": lambda i: (PIXELS[i], LABELS[i]),
    "triple": lambda i: (PIXELS[i], LABELS[i], {"id": i}),
    "named tuple": lambda i: Sample(Image.fromarray(PIXELS[i]), LABELS[i]),
    "label of one number": lambda i: (FIRST[i], torch.tensor([LABELS[i]])),
    "Hugging Face": lambda i: {"image": Image.fromarray(PIXELS[i]), "label": LABELS[i]},
    "Hugging Face, img": lambda i: {"img": Image.fromarray(PIXELS[i]), "label": LABELS[i], "id": i},
    "Hugging Face, for transformers": lambda i: {"pixel_values": FIRST[i], "labels": torch.tensor(LABELS[i])},
    "MONAI": lambda i: {"image": FIRST[i], "label": LABELS[i], "image_meta_dict": {"affine": np.eye(4)}},
    "own names": lambda i: {"id": i, "photo": PIXELS[i], "target": np.int64(LABELS[i])},
}
NO_CLASSES = {
    "annotations, as CocoDetection": lambda i: [{"bbox": [1, 2, 3, 4], "category_id": 1}] * (i % 3),
    "boxes, as torchvision's detectors": lambda i: {"boxes": torch.zeros(i % 3, 4), "labels": torch.zeros(i % 3)},
    "mask": lambda i: torch.zeros(10, 8, dtype=torch.long),
    "mask as an image": lambda i: Image.new("L", (8, 10)),
    "attributes, as CelebA": lambda i: torch.tensor([1, 0, 1]),
    "one-hot": lambda i: np.eye(3)[LABELS[i]],
    "several, as SBDataset": lambda i: (1, 2),
    "none": lambda i: None,
}


@pytest.mark.parametrize("form", WITH_LABELS)
@pytest.mark.parametrize("as_list", [False, True])
def test_images_and_labels_of_items(form, as_list):
    dataset = Made(WITH_LABELS[form])
    inputs = image_inputs([dataset[i] for i in range(6)] if as_list else dataset)
    assert len(inputs) == 6 and not inputs.is_float() and inputs.labelled and inputs.choice is None
    assert all(np.array_equal(inputs.read(i), PIXELS[i]) for i in range(6))
    assert inputs.targets.tolist() == LABELS


@pytest.mark.parametrize("form", NO_CLASSES)
@pytest.mark.parametrize("as_dict", [False, True])
def test_targets_that_are_no_classes_are_kept_away_from_what_needs_classes(form, as_dict):
    def make(i):
        target = NO_CLASSES[form](i)
        return {"image": PIXELS[i], "label": target} if as_dict else (PIXELS[i], target)

    dataset = Made(make, targets=["a.xml"] * 6, labels=[[1], [1, 2]] * 3)  # VOC has paths as targets
    inputs = image_inputs(dataset)
    assert not inputs.labelled and inputs.targets is None and "no classes" in inputs.choice
    assert np.array_equal(inputs.read(4), PIXELS[4])
    given = from_images(dataset).to_evaluation_dataset()
    assert not given.has_targets and given.labels_data is None
    assert image_inputs(dataset, LABELS).targets.tolist() == LABELS and image_inputs(dataset, LABELS).choice is None


def test_labels_that_a_dataset_knows_are_not_read():
    read = []

    def make(i):
        read.append(i)
        return PIXELS[i], LABELS[i]

    inputs = image_inputs(Made(make, targets=LABELS, classes=["ape", "cat", "dog"]))
    assert inputs.targets.tolist() == LABELS and inputs.classes == ("ape", "cat", "dog") and read == [0]


def test_names_of_classes_are_found():
    dataset = Made(WITH_LABELS["Hugging Face"], features={"image": object(), "label": NAMES})
    assert image_inputs(dataset).classes == ("ape", "cat", "dog")
    folder = Made(WITH_LABELS["pair"], classes=["ape", "cat", "dog"])
    assert image_inputs(torch.utils.data.Subset(folder, [1, 2])).classes == ("ape", "cat", "dog")
    assert image_inputs(Made(WITH_LABELS["pair"])).classes is None


def test_a_dict_without_an_image_that_is_told_from_the_others_says_what_is_expected():
    two = Made(lambda i: {"before": PIXELS[i], "after": PIXELS[i]})
    with pytest.raises(DataError, match=r"image 0 is a dict that has before, after: .* Expected one of image, img"):
        image_inputs(two)
    with pytest.raises(DataError, match=r"image 0 is a dict that has text"):
        image_inputs([{"text": "a"}])


def test_a_label_that_is_missing_later_is_none():
    inputs = image_inputs(Made(lambda i: (PIXELS[i], LABELS[i] if i < 5 else None)))
    assert inputs.targets.tolist() == [*LABELS[:5], None]
