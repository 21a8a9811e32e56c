"""Labelled images to train on, and probe images that are never trained on.

Probe images are the fixed, ordered images whose feature maps are recorded at every snapshot (arXiv 2405.04041 outlines
the method; sizes, splits and their defaults here are ours). Which images those are depends on the data set, the sizes
and ``split_seed``, never on a training's own seed, so that runs can share them: :attr:`ImageData.probe_sha256` tells.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.image_set import MIN_SIZE, ImageSet, Preprocessing, proportional_order, round_robin_order
from fmce_mlflow.method.images.named import DATASETS, Source, read_source, unknown_dataset
from fmce_mlflow.wording import did_you_mean

__all__ = [
    "AUGMENTATIONS",
    "DATASETS",
    "ImageData",
    "ImageSet",
    "Preprocessing",
    "check_images",
    "load_images",
    "loader",
]

AUGMENTATIONS = ("none", "flip", "crop-flip", "trivial")
"""Augmentations of training images: none; a mirror image half the time; that after a random crop of the image padded by
4 reflected pixels; or TrivialAugmentWide."""
HELD_OUT_FRACTION = 0.2
"""Share of the images that is held out where a data set has no test or validation split of its own."""
STATISTICS_IMAGES = 2000
"""Most training images over which mean and standard deviation are taken, where they are not known."""


@dataclass(frozen=True)
class ImageData:
    """A data set, split.

    Args:
        name: As it was asked for.
        classes: Names of the classes; labels are indices into them.
        train: Images to train on.
        validation: Held-out images. The first ``len(probe)`` of them are the probe images, in their order.
        probe: The probe images.
        preprocessing: What turns each image into the network's input.
        probe_sha256: Hash over the probe images' pixels, shapes and labels, in order, and the preprocessing.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    validation: ImageSet
    probe: ImageSet
    preprocessing: Preprocessing
    probe_sha256: str


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
    """What is wrong with options about images, before any file is looked at; arguments as in the functions below.

    Returns:
        One sentence per problem.

    Example:
        >>> check_images("mnist", probe_size=0, split_seed=-1)
        ['probe-size must be at least 1, got 0', 'split-seed must not be negative, got -1']
    """
    problems = [unknown_dataset(dataset)]
    if image_size is not None and image_size < MIN_SIZE:
        problems.append(f"image-size must be at least {MIN_SIZE}, got {image_size}")
    problems += [
        f"{name} must be at least 1, got {value}"
        for name, value in (
            ("probe-size", probe_size),
            ("validation-size", validation_size),
            ("train-size", train_size),
        )
        if value is not None and value < 1
    ]
    problems += [
        f"{name} must not be negative, got {value}"
        for name, value in (("split-seed", split_seed), ("num-workers", num_workers))
        if value < 0
    ]
    if augmentation not in AUGMENTATIONS:
        near = did_you_mean(augmentation, AUGMENTATIONS)
        problems.append(f"augmentation must be one of {', '.join(AUGMENTATIONS)}, got {augmentation!r}.{near}")
    return [problem for problem in problems if problem]


def load_images(
    dataset: str,
    *,
    data_root: str | Path = "data",
    download: bool = False,
    image_size: int | None = None,
    probe_size: int = 256,
    validation_size: int = 1000,
    train_size: int | None = None,
    split_seed: int = 0,
) -> ImageData:
    """Find a data set and split it.

    Held-out images are those of its test (or validation) split; where there is none, a stratified fifth of the images,
    or as many as the probe needs. Files are listed here and decoded when they are used.

    Args:
        dataset: One of :data:`DATASETS`, or ``folder:<path>``.
        data_root: Where named data sets are looked for.
        download: Fetch MNIST, Fashion-MNIST or CIFAR where they are missing.
        image_size: Height and width of the network's input, at least 8; by default the data set's own.
        probe_size: Probe images, taken in turn from each class. A smaller probe is the beginning of a larger one.
        validation_size: Held-out images to evaluate on, the probe among them; where it is smaller than the probe, the
            probe alone.
        train_size: Keep a stratified subset of this many training images.
        split_seed: Chooses among the images; runs that share it share their probe.

    Returns:
        The split data set.

    Raises:
        ConfigError: If options are out of range; names every one.
        DataError: If the data set is unknown, missing, damaged, or has too few images.

    Example:
        >>> data = load_images("digits", probe_size=20)
        >>> len(data.train), len(data.validation), data.probe.labels[:12].tolist()
        (1438, 359, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    problems = check_images(
        dataset,
        image_size=image_size,
        probe_size=probe_size,
        validation_size=validation_size,
        train_size=train_size,
        split_seed=split_seed,
    )
    if problems and problems != [unknown_dataset(dataset)]:
        raise ConfigError(problems)
    source = read_source(dataset, Path(data_root).expanduser(), download=download)
    train, held_out = _split(source, probe_size, split_seed)
    size = image_size or source.size
    mean, std = (source.mean, source.std) if source.mean and source.std else _statistics(train)
    preprocessing = Preprocessing(size, size, mean=mean, std=std, crop=source.crop)
    if train_size is not None:
        train = _shrink(train, train_size, len(source.classes), source.where, split_seed)

    turns = round_robin_order(held_out.labels, split_seed)
    chosen, rest = turns[:probe_size], np.sort(turns[probe_size:])
    more = rest[proportional_order(held_out.labels[rest], split_seed)][: max(0, validation_size - probe_size)]
    probe = held_out.subset(chosen)
    return ImageData(
        name=dataset,
        classes=source.classes,
        train=train,
        validation=held_out.subset(np.concatenate([chosen, more])),
        probe=probe,
        preprocessing=preprocessing,
        probe_sha256=_sha256(probe, preprocessing),
    )


def _split(source: Source, probe_size: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Training and held-out images; both are large enough."""
    images, classes = source.train, source.classes
    for part in (images, source.held_out):
        if part is not None and len(part) and not 0 <= part.labels.min() <= part.labels.max() < len(classes):
            raise DataError(
                f"{source.where} has labels beyond its {len(classes)} classes. Its label files are damaged."
            )
    if len(classes) < 2:
        raise DataError(f"{source.where} has one class, {classes[0]}; a classifier needs at least two.")
    counts = np.bincount(images.labels, minlength=len(classes))
    needed = 1 if source.held_out is not None else 2
    if poor := [f"{classes[c]} ({counts[c]})" for c in np.flatnonzero(counts < needed)]:
        raise DataError(
            f"{source.where} has classes with too few images: {', '.join(poor)}. Each needs at least {needed}"
            + (", one to train on and one to hold out" if needed == 2 else "")
            + ". Add images, or remove the classes."
        )
    if source.held_out is not None:
        if probe_size > len(source.held_out):
            raise DataError(
                f"A probe of {probe_size:,} images is larger than the held-out data: {source.where} has "
                f"{len(source.held_out):,} held-out images. Set --probe-size to {len(source.held_out)} or less."
            )
        return images, source.held_out
    n = len(images)
    held = max(round(HELD_OUT_FRACTION * n), probe_size, len(classes))
    if held > n // 2:
        raise DataError(
            f"A probe of {probe_size:,} images is too large: {source.where} has {n:,} images and no test split, and at "
            f"most half of them may be held out. Set --probe-size to {n // 2} or less."
        )
    order = proportional_order(images.labels, seed)
    return images.subset(np.sort(order[held:])), images.subset(np.sort(order[:held]))


def _shrink(train: ImageSet, size: int, classes: int, where: str, seed: int) -> ImageSet:
    """A stratified subset of the training images."""
    if not classes <= size <= len(train):
        raise DataError(
            f"A training set of {size:,} images cannot be had: {where} has {len(train):,} training images of {classes} "
            f"classes. Set --train-size from {classes} to {len(train)}."
        )
    return train.subset(np.sort(proportional_order(train.labels, seed)[:size]))


def _statistics(images: ImageSet) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation by channel of evenly spaced images, in [0, 1], to four digits."""
    n = len(images)
    total, squares, count = np.zeros(3, np.int64), np.zeros(3, np.int64), 0
    for i in np.unique(np.linspace(0, n - 1, min(n, STATISTICS_IMAGES)).astype(np.int64)):
        pixels = images[int(i)][0].numpy().reshape(3, -1).astype(np.int64)
        total, squares, count = total + pixels.sum(1), squares + (pixels**2).sum(1), count + pixels.shape[1]
    mean = total / count / 255
    std = np.sqrt(np.maximum(squares / count / 255**2 - mean**2, 1 / 255**2))
    (a, b, c), (d, e, f) = (np.round(values, 4).tolist() for values in (mean, std))
    return (a, b, c), (d, e, f)


def _sha256(images: ImageSet, preprocessing: Preprocessing) -> str:
    digest = hashlib.sha256(json.dumps(preprocessing.to_dict(), sort_keys=True).encode())
    for image, label in images:
        digest.update(f"|{'x'.join(map(str, image.shape))}|{label}|".encode())
        digest.update(image.numpy().tobytes())
    return digest.hexdigest()


def loader(
    images: ImageSet,
    *,
    preprocessing: Preprocessing,
    batches: Sequence[Sequence[int]],
    augmentation: str = "none",
    seed: int = 0,
    epoch: int = 0,
    num_workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, Tensor]]:
    """Load batches of images in the order given.

    Each image's augmentation is drawn from (``seed``, ``epoch``, the image's index in its source) alone: the batches do
    not depend on worker processes, on the process that loads them, or on where a run was resumed. torch's global random
    state is left as it is.

    Args:
        images: Where the images come from.
        preprocessing: What turns an image into the network's input.
        batches: Positions in ``images``, batch by batch.
        augmentation: One of :data:`AUGMENTATIONS`, applied to the resized uint8 image.
        seed: Seeds the augmentation.
        epoch: Pass over the data; each has its own augmentation.
        num_workers: Processes that read images; 0 reads them in this one.
        pin_memory: Put batches into page-locked memory, for a GPU.

    Returns:
        A loader of (float32 (b, 3, H, W), int64 (b,)).

    Raises:
        ConfigError: If the augmentation is unknown or ``num_workers`` negative.
        DataError: While it is read, if an image file cannot be decoded.

    Example:
        >>> data = load_images("digits", image_size=16)
        >>> x, y = next(iter(loader(data.train, preprocessing=data.preprocessing, batches=[[0, 5, 2]])))
        >>> x.shape, x.dtype, y.tolist() == data.train.labels[[0, 5, 2]].tolist()
        (torch.Size([3, 3, 16, 16]), torch.float32, True)
    """
    if problems := check_images(augmentation=augmentation, num_workers=num_workers, split_seed=seed):
        raise ConfigError([problem.replace("split-seed", "seed") for problem in problems])
    images.reserve(preprocessing)
    return _Loader(
        _Batches(images, preprocessing, batches, augmentation, seed, epoch),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=pin_memory,
        generator=torch.Generator(),  # without one, iterating draws from the global generator
    )


class _Loader(DataLoader[tuple[Tensor, Tensor]]):
    """Raises what a worker could not read as itself, not as an error text with the worker's traceback in it."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, DataError):
                raise batch
            yield batch


class _Batches(Dataset[Any]):
    """A data set whose items are whole batches."""

    def __init__(
        self,
        images: ImageSet,
        preprocessing: Preprocessing,
        batches: Sequence[Sequence[int]],
        augmentation: str,
        seed: int,
        epoch: int,
    ) -> None:
        self.images, self.preprocessing, self.batches = images, preprocessing, batches
        self.transform = _transform(augmentation, preprocessing)
        self.seed, self.epoch = seed, epoch

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor] | DataError:
        at = np.asarray(self.batches[i], dtype=np.int64)
        try:
            pixels = self.images.resized(at, self.preprocessing)  # (b, 1 or 3, H, W)
        except DataError as error:
            return error
        if self.transform is not None and len(at):
            pixels = self._augment(pixels.expand(-1, 3, -1, -1), self.transform, self.images.indices[at])
        return self.preprocessing.normalise(pixels), torch.from_numpy(self.images.labels[at])

    def _augment(self, pixels: Tensor, transform: v2.Transform, indices: NDArray[np.int64]) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            done = []
            for image, index in zip(pixels, indices, strict=True):
                state = np.random.SeedSequence([self.seed, self.epoch, int(index)]).generate_state(1, np.uint64)
                torch.default_generator.manual_seed(int(state[0] >> np.uint64(1)))
                done.append(transform(image))
        return torch.stack(done)


def _transform(augmentation: str, preprocessing: Preprocessing) -> v2.Transform | None:
    size = (preprocessing.height, preprocessing.width)
    if augmentation == "none":
        return None
    if augmentation == "flip":
        return v2.RandomHorizontalFlip()
    if augmentation == "crop-flip":
        return v2.Compose([v2.RandomCrop(size, padding=4, padding_mode="reflect"), v2.RandomHorizontalFlip()])
    return v2.TrivialAugmentWide()
