"""Options about images and what they may be, free of torch and of files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

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
Augmentation = Literal["none", "flip", "crop-flip", "trivial"]
AUGMENTATIONS: tuple[Augmentation, ...] = get_args(Augmentation)
"""Augmentations of training images: none; a mirror image half the time; that after a random crop of the image padded by
4 reflected pixels; or TrivialAugmentWide."""
MIN_SIZE = 8
"""Smallest height and width of a network's input."""


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


def check_images(
    dataset: str = "digits",
    *,
    image_size: int | None = None,
    probe_size: int = 256,
    validation_size: int = 1000,
    train_size: int | None = None,
    split_seed: int = 0,
    augmentation: str = "none",
    num_workers: int = 0,
) -> list[str]:
    """What is wrong with options about images, before any file is looked at: one sentence per problem.

    Options are those of :func:`~fmce_mlflow.method.images.split.load_images` and of
    :func:`~fmce_mlflow.method.images.training_batches.loader`.

    Example:
        >>> check_images("mnist", probe_size=0, split_seed=-1)
        ['probe-size must be at least 1, got 0', 'split-seed must not be negative, got -1']
    """
    problems = [unknown_dataset(dataset)]
    if image_size is not None and image_size < MIN_SIZE:
        problems.append(f"image-size must be at least {MIN_SIZE}, got {image_size}")
    counts = {"probe-size": probe_size, "validation-size": validation_size, "train-size": train_size}
    problems += [
        f"{name} must be at least 1, got {value}" for name, value in counts.items() if value is not None and value < 1
    ]
    others = {"split-seed": split_seed, "num-workers": num_workers}
    problems += [f"{name} must not be negative, got {value}" for name, value in others.items() if value < 0]
    if augmentation not in AUGMENTATIONS:
        near = did_you_mean(augmentation, AUGMENTATIONS)
        problems.append(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, got {augmentation!r}.{near}")
    return [problem for problem in problems if problem]
