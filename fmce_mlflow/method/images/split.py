"""Labelled images to train on, and probe images that are never trained on.

Probe images are the fixed, ordered images whose feature maps are recorded at every snapshot (arXiv 2405.04041 outlines
the method; sizes, splits and their defaults here are ours). Which images those are depends on the data set, the sizes
and ``split_seed``, never on a training's own seed, so that runs can share them (:attr:`ImageData.probe_sha256`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fmce_mlflow.errors import DataError
from fmce_mlflow.method.images.config import ImageOptions, SplitOptions
from fmce_mlflow.method.images.image_set import ImageSet
from fmce_mlflow.method.images.named import NamedImages, named_images
from fmce_mlflow.method.images.preprocessing import Preprocessing, Triple

HELD_OUT_FRACTION = 0.2  # where a data set has no test or validation split of its own
STATISTICS_IMAGES = 2000  # most training images over which mean and standard deviation are taken


@dataclass(frozen=True)
class ImageData:
    """A data set, split."""

    name: str  # as it was asked for
    classes: tuple[str, ...]  # labels are indices into them
    train: ImageSet
    validation: ImageSet  # held-out images, the probe images first
    probe: ImageSet
    preprocessing: Preprocessing
    probe_sha256: str  # over the probe images' pixels, shapes and labels, in order, and the preprocessing

    @cached_property
    def digest(self) -> str:
        """Tells other images, labels and names of classes from these; of many images it looks into some alone."""
        sources = {id(part.source): part.source for part in (self.train, self.validation)}.values()
        return hashlib.sha256(repr((self.classes, [one.digest() for one in sources])).encode()).hexdigest()


def load_images(options: SplitOptions) -> ImageData:
    """Find a data set and split it.

    Held-out images are those of its test (or validation) split; where there is none, a stratified fifth of the images,
    or as many as the probe needs. Files are listed here and decoded when they are used.

    Probe images are taken in turn from each class; a smaller probe is the beginning of a larger one. Validation images
    have the probe among them, and are the probe alone where ``validation_size`` is smaller.

    Raises:
        DataError: If the data set is missing, damaged, or has too few images.

    Example:
        >>> data = load_images(SplitOptions(dataset="digits", probe_size=20))
        >>> len(data.train), len(data.validation), data.probe.labels[:12].tolist()
        (1438, 359, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
    """
    found = named_images(options)
    seed, probe_size = options.split_seed, options.probe_size
    train, held_out = _split(found, probe_size, seed)
    preprocessing = _preprocessing(found, train, options.image_size)
    if options.train_size is not None:
        train = _shrink(train, options.train_size, len(found.classes), found.where, seed)
    order = _order_of_use(held_out.labels, probe_size, seed)
    probe = held_out.subset(order[:probe_size])
    return ImageData(
        name=options.dataset,
        classes=found.classes,
        train=train,
        validation=held_out.subset(order[: max(probe_size, options.validation_size)]),
        probe=probe,
        preprocessing=preprocessing,
        probe_sha256=_sha256(probe, preprocessing),
    )


def prepared_as(data: ImageData, preprocessing: Preprocessing) -> ImageData:
    """The same images with another preprocessing, such as that of a model."""
    if preprocessing == data.preprocessing:
        return data
    return replace(data, preprocessing=preprocessing, probe_sha256=_sha256(data.probe, preprocessing))


def held_out_images(options: ImageOptions) -> tuple[ImageSet, Preprocessing]:
    """All images of a data set that no training with this split seed sees, whatever its other options are.

    Raises:
        DataError: As :func:`load_images`.

    Example:
        >>> images, _ = held_out_images(ImageOptions(dataset="digits"))
        >>> len(images), len(set(images.indices) & set(load_images(SplitOptions()).train.indices))
        (359, 0)
    """
    found = named_images(options)
    train, held_out = _unseen(found, options.split_seed)
    return held_out, _preprocessing(found, train, None)


def held_out_alone(options: ImageOptions) -> ImageSet:
    """The images of :func:`held_out_images`, without reading any training image for mean and standard deviation."""
    return _unseen(named_images(options), options.split_seed)[1]


def _unseen(found: NamedImages, seed: int) -> tuple[ImageSet, ImageSet]:
    train, held_out = _split(found, 1, seed)
    return train, held_out.subset(_order_of_use(held_out.labels, SplitOptions().probe_size, seed))


def _preprocessing(found: NamedImages, train: ImageSet, image_size: int | None) -> Preprocessing:
    size = image_size or found.size
    mean, std = found.statistics or _statistics(train)
    return Preprocessing(size, size, mean=mean, std=std, crop=found.crop)


def _order_of_use(labels: NDArray[np.int64], probe_size: int, seed: int) -> NDArray[np.int64]:
    """Positions of held-out images: first the probe, from each class in turn, then the others, stratified."""
    turns = round_robin_order(labels, seed)
    rest = np.sort(turns[probe_size:])
    return np.concatenate([turns[:probe_size], rest[proportional_order(labels[rest], seed)]])


def _split(found: NamedImages, probe_size: int, seed: int) -> tuple[ImageSet, ImageSet]:
    """Training and held-out images; both are large enough."""
    images, classes = ImageSet(found.train), found.classes
    held_out = None if found.held_out is None else ImageSet(found.held_out)
    for part in (images, held_out):
        if part is not None and len(part) and not 0 <= part.labels.min() <= part.labels.max() < len(classes):
            raise DataError(f"{found.where} has labels beyond its {len(classes)} classes. Its label files are damaged.")
    if len(classes) < 2:
        raise DataError(f"{found.where} has one class, {classes[0]}; a classifier needs at least two.")
    counts = np.bincount(images.labels, minlength=len(classes))
    needed = 2 if held_out is None else 1
    if poor := [f"{classes[c]} ({counts[c]})" for c in np.flatnonzero(counts < needed)]:
        why = ", one to train on and one to hold out" if needed == 2 else ""
        raise DataError(
            f"{found.where} has classes with too few images: {', '.join(poor)}. Each needs at least {needed}{why}. Add "
            "images, or remove the classes."
        )
    if held_out is not None:
        if probe_size > len(held_out):
            raise DataError(
                f"A probe of {probe_size:,} images is larger than the held-out data: {found.where} has "
                f"{len(held_out):,} held-out images. Set --probe-size to {len(held_out)} or less."
            )
        return images, held_out
    n = len(images)
    held = max(round(HELD_OUT_FRACTION * n), probe_size, len(classes))
    if held > n // 2:
        raise DataError(
            f"A probe of {probe_size:,} images is too large: {found.where} has {n:,} images and no test split, and at "
            f"most half of them may be held out. Set --probe-size to {n // 2} or less."
        )
    order = proportional_order(images.labels, seed)
    return images.subset(np.sort(order[held:])), images.subset(np.sort(order[:held]))


def _shrink(train: ImageSet, size: int, classes: int, where: str, seed: int) -> ImageSet:
    """A stratified subset of the training images."""
    if not classes <= size <= len(train):
        raise DataError(
            f"A training set of {size:,} images is not available: {where} has {len(train):,} training images of "
            f"{classes} classes. Set --train-size from {classes} to {len(train)}."
        )
    return train.subset(np.sort(proportional_order(train.labels, seed)[:size]))


def _statistics(images: ImageSet) -> tuple[Triple, Triple]:
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


def _ranks(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Each image's place, from 0, in a random order of its class's images."""
    # RandomState's stream is frozen for good, so that a split outlives NumPy's versions.
    lots = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed))).random_sample(len(labels))
    order = np.lexsort((lots, labels))
    starts = np.concatenate([[0], np.cumsum(np.bincount(labels))])[:-1]
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[order] = np.arange(len(labels)) - starts[labels[order]]
    return ranks


def round_robin_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """An order that takes one image of each class in turn, as long as the class has any."""
    return np.lexsort((labels, _ranks(labels, seed))).astype(np.int64)


def proportional_order(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """An order whose every beginning holds the classes in proportion, each at least once where it is long enough."""
    share = _ranks(labels, seed) / np.bincount(labels)[labels]
    return np.lexsort((labels, share)).astype(np.int64)
