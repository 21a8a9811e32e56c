"""Options about images and what they may be, free of torch and of files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from fmce_mlflow.errors import ConfigError
from fmce_mlflow.safety.options import Option, Options, reads
from fmce_mlflow.wording import did_you_mean

FOLDER = "folder:"
DATASETS: Mapping[str, str] = MappingProxyType(
    {
        "digits": "scikit-learn's 1,797 handwritten digits, 10 classes; needs no files",
        "mnist": "MNIST, 70,000 handwritten digits, 10 classes; --download",
        "fashion_mnist": "Fashion-MNIST, 70,000 pieces of clothing, 10 classes; --download",
        "cifar10": "CIFAR-10, 60,000 photographs, 10 classes; --download",
        "cifar100": "CIFAR-100, 60,000 photographs, 100 classes; --download",
        "mini_imagenet": "mini-ImageNet, 60,000 photographs, 100 classes; CSV splits with images/, or class folders",
        "folder:<path>": "a folder of class folders, also under train/ and test/, val/ or validation/",
    }
)
"""Names that a data set can be asked for by, with a line about each."""
TRAIN = ("train", "training")
HELD_OUT = ("test", "val", "validation", "valid")
"""Folders beside ``train/`` whose images are never trained on; the first that is there is used, the others are not."""
LEFTOVERS = ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
"""Folders that systems leave among images; they are passed over, as are all names that start with a dot."""
Augmentation = Literal["none", "flip", "crop-flip", "trivial"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
"""Augmentations of training images: none; a mirror image half the time; that after a random crop of the image padded by
4 reflected pixels; or TrivialAugmentWide."""
MIN_SIZE, MAX_SIZE = 8, 2**13  # height and width of a network's input; beyond it one image takes gigabytes


def unknown_dataset(dataset: str) -> str:
    """What is wrong with a data set's name; empty where nothing is."""
    if dataset.startswith(FOLDER):
        return "" if dataset.removeprefix(FOLDER).strip() else "dataset folder: lacks its path, as in folder:photos"
    named = [name for name in DATASETS if not name.startswith(FOLDER)]
    if dataset in named:
        return ""
    listed = f"There are {', '.join(named)} and folder:<path>."
    if os.path.isdir(os.path.expanduser(dataset)):
        return f"dataset {dataset!r} is unknown. Did you mean {FOLDER}{dataset}? {listed}"
    return f"dataset {dataset!r} is unknown.{did_you_mean(dataset.lower(), named, how_to_list=listed)}"


def known_dataset(dataset: Any) -> Any:
    """A data set's name as it was given; ConfigError says what is wrong with it."""
    if isinstance(dataset, str) and (problem := unknown_dataset(dataset)):
        raise ConfigError(problem)
    return dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions(Options):
    """Which images."""

    dataset: Annotated[str, reads(known_dataset), Option("Data set, or folder:PATH; see `fmce list-data`.")] = "digits"
    data_root: Annotated[str, Option("Where data sets are looked for.")] = "data"
    download: Annotated[bool, Option("Fetch a missing data set.")] = False
    split_seed: Annotated[int, Option("Chooses the held-out images; runs that share it share their probe.", ge=0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions(ImageOptions):
    """Which images, and how they are split for a training."""

    image_size: Annotated[
        int | None, Option("Input height and width; auto: the data set's own.", ge=MIN_SIZE, le=MAX_SIZE)
    ] = None
    probe_size: Annotated[int, Option("Probe images, whose maps are recorded.", ge=1)] = 256
    validation_size: Annotated[
        int, Option("Held-out images for validation loss and accuracy, the probe images among them.", ge=1)
    ] = 1000
    train_size: Annotated[
        int | None, Option("Use a stratified subset of this many training images; auto: all.", ge=1)
    ] = None
