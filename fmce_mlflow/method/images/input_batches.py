"""Batches of a network's input, read and prepared a little ahead."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from math import inf
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from fmce_mlflow.errors import ConfigError, DataError
from fmce_mlflow.method.images.decoding import Fit, UnreadableError
from fmce_mlflow.method.images.preprocessing import InputShape, Preprocessing
from fmce_mlflow.method.images.readers import ImageInputs, Skipped, Unreadable

MOST_THREADS = 4
DARK = 63  # of 255, what 14 bits of 16 come to


@dataclass(frozen=True, slots=True)
class Batch:
    """Images as a network takes them, on the CPU."""

    indices: NDArray[np.int64]  # (b,): which images of the inputs they are
    pixels: Tensor  # float32 (b, C, H, W); uint8 for a model that takes it


@dataclass(slots=True)
class _Prepared:
    """A batch, in groups of images that were alike before they were prepared, and what was seen on the way."""

    groups: list[Batch] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    least: float = inf  # value of float images
    greatest: float = -inf
    brightest: int = -1  # value of 8-bit images
    sizes: set[tuple[int, int]] = field(default_factory=set)  # of those

    def look(self, images: NDArray[np.generic]) -> None:
        """Take note of the range of an image or several."""
        if images.dtype == np.uint8:
            self.brightest = max(self.brightest, int(images.max()))
            self.sizes.add((images.shape[-3], images.shape[-2]))
        else:
            self.least, self.greatest = min(self.least, float(images.min())), max(self.greatest, float(images.max()))


class InputBatches:
    """Images as batches of a network's input, in order, read a few batches ahead; each iteration starts afresh.

    Float arrays pass as they are; all others take the preprocessing. Gray is repeated where the model takes 3 channels.
    At most :data:`MOST_THREADS` + 2 batches are held at a time, and of images in files one at full size by thread.

    Args:
        inputs: The images.
        batch_size: Images per batch; the last may have fewer, and so may one whose images were skipped.
        preprocessing: For 8-bit images.
        input_shape: What the model takes, as far as it is known.
        unreadable: ``raise`` or ``skip``; by default as the inputs say.
        indices: Which images, in which order; by default all.
        takes_bytes: Whether the model takes uint8 and scales it itself: images are then resized and nothing else.
        hashed: Whether to fill ``content``.
        pinned: Whether to put pixels where a GPU copies them from without being waited for.

    Attributes:
        skipped: The images left out so far because they cannot be read.
        notes: Sentences for the user about the images seen so far.
        sizes: Heights and widths of the 8-bit images seen so far, before preprocessing.
        content: By index, the SHA-256 of each image's pixels and shape as they were read first, before preprocessing.

    Raises:
        ConfigError: If 8-bit images come without a preprocessing, or with one of another size than the model takes.
        DataError: If no image is chosen. While iterating: if an image cannot be read, has NaN or infinite pixels, or
            another size or number of channels than the model takes or than others have; names it.

    Example:
        >>> from fmce_mlflow.method.images.inputs import image_inputs
        >>> images = image_inputs(np.zeros((5, 8, 8), dtype=np.uint8))
        >>> half = Preprocessing(8, 8, mean=(0.5,) * 3, std=(0.5,) * 3)
        >>> batches = InputBatches(images, batch_size=2, preprocessing=half, input_shape=(3, 8, 8))
        >>> [batch.indices.tolist() for batch in batches]
        [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        inputs: ImageInputs,
        *,
        batch_size: int,
        preprocessing: Preprocessing | None,
        input_shape: InputShape | None,
        unreadable: Unreadable | None = None,
        indices: ArrayLike | None = None,
        takes_bytes: bool = False,
        hashed: bool = False,
        pinned: bool = False,
    ) -> None:
        chosen = np.arange(len(inputs)) if indices is None else np.asarray(indices, dtype=np.int64).reshape(-1)
        if not len(chosen):
            raise DataError("No image is chosen. Give at least one; FMCE needs two.")
        if batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {batch_size}")
        shape: InputShape = input_shape or (None, None, None)
        if not inputs.is_float():
            if preprocessing is not None or not takes_bytes:
                _check_8_bit(inputs.name(int(chosen[0])), preprocessing, shape)
        elif takes_bytes:
            raise DataError(
                "The model takes 8-bit pixels by its signature (uint8) and scales them itself, and the images are "
                "floats. Give them as uint8, from 0 to 255."
            )
        self._inputs, self._preprocessing, self._shape = inputs, preprocessing, shape
        self._takes_bytes, self._hashed, self._pinned = takes_bytes, hashed, pinned
        self._unreadable = unreadable or inputs.unreadable
        self._parts = np.split(chosen, range(batch_size, len(chosen), batch_size))
        self.skipped: list[Skipped] = []
        self.notes: list[str] = []
        self.content: dict[int, bytes] = {}
        self.sizes: set[tuple[int, int]] = set()

    def __len__(self) -> int:
        """How many batches there are if none is skipped whole."""
        return len(self._parts)

    def __iter__(self) -> Iterator[Batch]:
        """Read and prepare the images."""
        self.skipped, self.notes = [], []
        first: tuple[str, torch.Size] | None = None
        seen = _Prepared()
        workers = min(MOST_THREADS, os.cpu_count() or 1) if self._inputs.parallel else 1
        for done in _ahead(self._prepare, self._parts, workers):
            self.skipped += done.skipped
            seen.least, seen.greatest = min(seen.least, done.least), max(seen.greatest, done.greatest)
            seen.brightest = max(seen.brightest, done.brightest)
            self.sizes |= done.sizes
            for group in done.groups:
                found = self._inputs.name(int(group.indices[0])), group.pixels.shape[1:]
                first = first or found
                if found[1] != first[1]:
                    raise _two_sizes(first, found)
            if len(done.groups) == 1:
                yield done.groups[0]
            elif done.groups:
                indices = np.concatenate([group.indices for group in done.groups])
                yield Batch(indices, torch.cat([group.pixels for group in done.groups]))
        if first is None:
            raise DataError(
                f"None of {sum(map(len, self._parts)):,} images can be read; the first is {self.skipped[0].name}: "
                f"{self.skipped[0].reason}."
            )
        self.notes += _range_notes(seen, self._preprocessing)

    def _prepare(self, part: NDArray[np.int64]) -> _Prepared:
        """Read some images and make them the network's input; runs in a thread of the pool."""
        done = _Prepared()
        together = self._inputs.read_many(part)
        if together is not None:
            done.look(together)
            for index, image in zip(part.tolist() if self._hashed else (), together, strict=False):
                self._hash(index, image)
            alike = [(part, together)]
        else:
            read = groupby(self._read(part, done), key=lambda entry: (entry[1].shape, entry[1].dtype))
            runs = [list(entries) for _, entries in read]
            alike = [(np.array([i for i, _ in run]), np.stack([image for _, image in run])) for run in runs]
        for indices, images in alike:
            pixels = self._fitted(torch.from_numpy(images), indices)
            done.groups.append(Batch(indices, pixels.pin_memory() if self._pinned else pixels))
        return done

    def _read(self, part: NDArray[np.int64], done: _Prepared) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Images one by one, of 8 bits each resized before the next is read."""
        for index in part.tolist():
            try:
                image = self._inputs.read(index, self._fit_of(index, done))
            except UnreadableError as error:
                if self._unreadable == "raise":
                    raise
                done.skipped.append(Skipped(index, error.name, error.reason))
                continue
            if image.dtype != np.uint8:
                done.look(image)
                self._hash(index, image)
            yield index, image

    def _fit_of(self, index: int, done: _Prepared) -> Fit:
        def fit(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
            done.look(pixels)
            self._hash(index, pixels)
            wanted = self._preprocessing
            if wanted is None or pixels.shape[0] * pixels.shape[1] <= wanted.height * wanted.width:
                return pixels  # resized with the others
            image = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)
            return wanted.fit(image[None])[0].permute(1, 2, 0).numpy()

        return fit

    def _hash(self, index: int, image: NDArray[np.generic]) -> None:
        if self._hashed and index not in self.content:
            content, pixels = hashlib.sha256(f"{image.dtype.str} {image.shape} ".encode()), np.ascontiguousarray(image)
            content.update(cast("Any", pixels))
            self.content[index] = content.digest()

    def _fitted(self, images: Tensor, indices: NDArray[np.int64]) -> Tensor:
        """The network's input from images of one size and type: uint8 (b, H, W, C), or float32 (b, C, H, W)."""
        if images.dtype == torch.uint8:
            return self._preprocessed(images.permute(0, 3, 1, 2), indices)
        if not bool(torch.isfinite(images).all()):
            bad = int(torch.nonzero(~torch.isfinite(images).flatten(1).all(1))[0])
            what = "NaN" if bool(images[bad].isnan().any()) else "infinite"
            raise DataError(
                f"{self._inputs.name(int(indices[bad]))} has {what} pixels. Correct or leave out that image; a "
                "standard deviation of 0 in a normalisation is a common cause."
            )
        if self._shape[0] == 3 and images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1).contiguous()
        self._check_shape(images, indices)
        return images

    def _check_shape(self, images: Tensor, indices: NDArray[np.int64]) -> None:
        found = tuple(images.shape[1:])
        if any(wanted not in (None, got) for wanted, got in zip(self._shape, found, strict=True)):
            raise _wrong_shape(self._inputs.name(int(indices[0])), found, self._shape)

    def _preprocessed(self, images: Tensor, indices: NDArray[np.int64]) -> Tensor:
        """From uint8 (b, 1 or 3, H, W)."""
        gray = self._shape[0] == 1
        if gray and images.shape[1] == 3:
            colored = (images != images[:, :1]).flatten(1).any(1)
            if bool(colored.any()):
                name = self._inputs.name(int(indices[int(torch.nonzero(colored)[0])]))
                raise DataError(f"{name} is in color, and the model takes 1 channel. Convert the images to gray.")
            images = images[:, :1]
        if self._preprocessing is not None:
            images = self._preprocessing.fit(images).contiguous()
        if self._takes_bytes:
            images = images.expand(-1, -1 if gray else 3, -1, -1).contiguous()
            self._check_shape(images, indices)
            return images
        if self._preprocessing is None:
            raise _no_preprocessing(self._inputs.name(int(indices[0])))
        x = self._preprocessing.normalise(images)
        return x[:, :1].contiguous() if gray else x


def _ahead(
    work: Callable[[NDArray[np.int64]], _Prepared], parts: Iterable[NDArray[np.int64]], workers: int
) -> Iterator[_Prepared]:
    """The results of work in threads, in order; at most ``workers`` + 1 are begun before they are asked for."""
    pool = ThreadPoolExecutor(workers, thread_name_prefix="fmce-images")
    begun: deque[Future[_Prepared]] = deque()
    try:
        for part in parts:
            begun.append(pool.submit(work, part))
            if len(begun) > workers + 1:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check_8_bit(name: str, preprocessing: Preprocessing | None, shape: InputShape) -> None:
    if preprocessing is None:
        raise _no_preprocessing(name)
    if shape[0] not in (None, 1, 3):
        raise DataError(
            f"The model takes {shape[0]} channels, and 8-bit images have 1 or 3. Give the floats that it takes, "
            f"shape (n, {', '.join('?' if s is None else str(s) for s in shape)})."
        )
    size = preprocessing.height, preprocessing.width
    if any(wanted not in (None, got) for wanted, got in zip(shape[1:], size, strict=True)):
        raise ConfigError(
            f"preprocessing makes images of {size[0]}×{size[1]}, and the model takes "
            f"{'×'.join('any' if s is None else str(s) for s in shape[1:])}. Set its height and width to these."
        )


def _no_preprocessing(name: str) -> ConfigError:
    return ConfigError(
        f"{name} has 8-bit pixels, and nothing says how the model wants them scaled. Give preprocessing='imagenet', "
        "'scale' (to [0, 1] alone), or {'mean': [r, g, b], 'std': [r, g, b]} as in the model's training; models that "
        "this project trains carry theirs. Or give the floats that the model takes."
    )


def _two_sizes(first: tuple[str, Sequence[int]], other: tuple[str, Sequence[int]]) -> DataError:
    return DataError(
        f"Images are of several sizes: {first[0]} is (C, H, W) = {tuple(first[1])}, {other[0]} {tuple(other[1])}. "
        "Float images pass as they are: resize them to one size, or give 8-bit images, which preprocessing resizes."
    )


def _wrong_shape(name: str, found: tuple[int, ...], wanted: InputShape) -> DataError:
    shape = ", ".join("any" if size is None else str(size) for size in wanted)
    swapped = wanted[0] is not None and found[0] != wanted[0] and found[2] == wanted[0]
    hint = " Its channels seem to come last: give layout='NHWC'." if swapped else ""
    return DataError(
        f"{name} is (C, H, W) = {found}; the model takes ({shape}). Float images pass as they are: give them in that "
        f"shape, or as 8-bit images, which preprocessing resizes.{hint}"
    )


def _range_notes(seen: _Prepared, preprocessing: Preprocessing | None) -> list[str]:
    """What the values of images give away; they pass nevertheless."""
    least, greatest = seen.least, seen.greatest
    if 0 <= seen.brightest <= DARK:
        return [
            f"All 8-bit pixels are nearly black: none is above {seen.brightest} of 255. Files with 10 to 14 bits of 16 "
            "become so, as do class numbers, and floats in [0, 1] that were cast to uint8. If these are such, give "
            "arrays that are scaled as in the model's training."
        ]
    if greatest < least:
        return []
    if greatest - least > 60:
        return [
            f"Float images go from {least:.3g} to {greatest:.3g}, as unscaled 8-bit pixels do; they pass as they are. "
            "If they are such, give them as uint8."
        ]
    if greatest == least:
        return [f"All pixels of all float images are {least:.3g}."]
    normalises = preprocessing is not None and (set(preprocessing.mean) != {0.0} or set(preprocessing.std) != {1.0})
    if normalises and least >= 0 and greatest <= 1:
        return [
            "Float images lie in [0, 1] and pass as they are, though the model was trained on normalised images. If "
            "they are not normalised, give them as uint8."
        ]
    return []
